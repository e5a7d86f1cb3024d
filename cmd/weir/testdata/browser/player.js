// Plays what the query names, and tells the test how it went: src (an URL), kind
// (hls or dash), name, and seek (what part of the whole to seek to, none for live).
'use strict'

const query = new URLSearchParams(location.search)
const video = document.querySelector('video')
const said = { done: false, errors: [], warnings: [], stalls: 0 }
const ahead = 8 // s that a player loads ahead: the place to seek to must not be among it

function tell() {
  const q = video.getVideoPlaybackQuality()
  const facts = { at: video.currentTime, duration: isFinite(video.duration) ? video.duration : 0,
    frames: q.totalVideoFrames, dropped: q.droppedVideoFrames, ...said }
  return fetch('report?name=' + query.get('name'), { method: 'POST', body: JSON.stringify(facts) })
}

function failed(what) {
  said.errors.push(String(what))
  tell()
}

function playHLS(src) {
  const hls = new Hls({ maxBufferLength: ahead, maxMaxBufferLength: ahead })
  hls.on(Hls.Events.ERROR, (_, e) => {
    const what = `${e.type} ${e.details} ${e.url || ''} ${e.response ? e.response.code : ''} ${e.error || ''}`
    if (e.fatal) failed(what)
    else said.warnings.push(what)
  })
  hls.on(Hls.Events.MANIFEST_PARSED, () => video.play().catch(failed))
  hls.loadSource(src)
  hls.attachMedia(video)
}

function playDASH(src) {
  const player = dashjs.MediaPlayer().create()
  player.updateSettings({
    debug: { logLevel: dashjs.Debug.LOG_LEVEL_NONE },
    streaming: {
      buffer: { bufferTimeDefault: ahead, bufferTimeAtTopQuality: ahead, bufferTimeAtTopQualityLongForm: ahead },
      delay: { liveDelay: 3 },
      utcSynchronization: { enabled: false } // there is no clock on the network to ask
    }
  })
  player.on(dashjs.MediaPlayer.events.ERROR, (e) => failed(`${e.error && (e.error.code + ' ' + e.error.message) || JSON.stringify(e)}`))
  player.initialize(video, src, true)
}

// advanced is fulfilled when so many seconds have been played on from a place.
function advanced(from, seconds) {
  return new Promise((resolve) => {
    const tick = setInterval(() => {
      if (video.seeking || video.currentTime < from + seconds) return
      clearInterval(tick)
      resolve()
    }, 100)
  })
}

function happens(event) {
  return new Promise((resolve) => video.addEventListener(event, resolve, { once: true }))
}

function buffered(at) {
  for (let i = 0; i < video.buffered.length; i++) {
    if (video.buffered.start(i) <= at && at < video.buffered.end(i)) return true
  }
  return false
}

async function watch() {
  video.addEventListener('error', () => failed(`video: ${video.error.message}`))
  window.addEventListener('error', (e) => failed(e.message))
  const started = happens('playing')
  if (query.get('kind') === 'hls') playHLS(query.get('src'))
  else playDASH(query.get('src'))
  await started
  video.addEventListener('waiting', () => { if (!video.seeking) said.stalls++ })
  said.first = video.currentTime
  said.began = performance.now()
  await advanced(said.first, 5)
  said.played = video.currentTime - said.first
  said.took = (performance.now() - said.began) / 1000
  if (query.has('seek')) {
    said.target = video.duration * Number(query.get('seek'))
    said.had = buffered(said.target)
    const seeked = happens('seeked')
    video.currentTime = said.target
    await seeked
    said.landed = video.currentTime
    await advanced(said.landed, 3)
  }
  said.done = true
  video.pause()
  await tell()
}

setInterval(tell, 1000)
watch().catch(failed)
