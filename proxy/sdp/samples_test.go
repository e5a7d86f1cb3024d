package sdp

import "strings"

// Descriptions as real servers write them, addresses and secrets changed.
// 198.51.100.7 is the origin, s3cret what nobody is to see.
var samples = map[string]string{
	"ffmpeg": crlf(`v=0
o=- 0 0 IN IP4 198.51.100.7
s=No Name
c=IN IP4 198.51.100.7
t=0 0
a=tool:libavformat 60.16.100
m=video 0 RTP/AVP 96
b=AS:2000
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z2QAH6zZQFAFuwEQAAADABAAAAMDIPGDGWA=,aOvjyyLA; profile-level-id=64001F
a=control:streamid=0
m=audio 0 RTP/AVP 97
b=AS:128
a=rtpmap:97 MPEG4-GENERIC/48000/2
a=fmtp:97 profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3; config=119056E500
a=control:streamid=1
`),
	"gstreamer": crlf(`v=0
o=- 12945937421373264211 1 IN IP4 198.51.100.7
s=Session streamed with GStreamer
i=rtsp-server
t=0 0
a=tool:GStreamer
a=type:broadcast
a=control:*
a=range:npt=now-
m=video 0 RTP/AVP 96
c=IN IP4 0.0.0.0
b=AS:4000
a=rtpmap:96 H264/90000
a=framerate:30
a=fmtp:96 packetization-mode=1;profile-level-id=42c01e;sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==
a=ts-refclk:local
a=mediaclk:sender
a=ssrc:2190829481 cname:user2312@198.51.100.7
a=control:stream=0
`),
	"live555": crlf(`v=0
o=- 1700000000000000 1 IN IP4 198.51.100.7
s=Matroska video+audio+(optional)subtitles, streamed by the LIVE555 Media Server
i=test.mkv
t=0 0
a=tool:LIVE555 Streaming Media v2023.11.30
a=type:broadcast
a=control:*
a=source-filter: incl IN IP4 * 198.51.100.7
a=rtcp-unicast: reflection
a=range:npt=0-596.458
a=x-qt-text-nam:Matroska video+audio+(optional)subtitles, streamed by the LIVE555 Media Server
a=x-qt-text-inf:test.mkv
m=video 0 RTP/AVP 96
c=IN IP4 0.0.0.0
b=AS:500
a=rtpmap:96 H265/90000
a=fmtp:96 profile-space=0;profile-id=1;tier-flag=0;level-id=120;interop-constraints=B00000000000
a=control:track1
m=audio 0 RTP/AVP 97
c=IN IP4 0.0.0.0
b=AS:96
a=rtpmap:97 OPUS/48000/2
a=control:track2
`),
	"hikvision": crlf(`v=0
o=- 1109162014219182 1109162014219192 IN IP4 198.51.100.7
s=Media Presentation
e=NONE
b=AS:5100
t=0 0
a=control:rtsp://admin:s3cret@198.51.100.7:554/Streaming/Channels/101/
m=video 0 RTP/AVP 96
c=IN IP4 0.0.0.0
b=AS:5000
a=recvonly
a=x-dimensions:2560,1440
a=control:rtsp://admin:s3cret@198.51.100.7:554/Streaming/Channels/101/trackID=1
a=rtpmap:96 H264/90000
a=fmtp:96 profile-level-id=420029; packetization-mode=1; sprop-parameter-sets=Z00AMp2oCgAzabgICAgQ,aO48gA==
m=audio 0 RTP/AVP 8
c=IN IP4 0.0.0.0
b=AS:50
a=recvonly
a=control:rtsp://admin:s3cret@198.51.100.7:554/Streaming/Channels/101/trackID=2
a=rtpmap:8 PCMA/8000
a=Media_header:MEDIAINFO=494D4B48010200000400000111710110401F000000FA000000000000000000000000000000000000;
a=appversion:1.0
`),
	"mediamtx": crlf(`v=0
o=- 0 0 IN IP4 127.0.0.1
s=Stream
c=IN IP4 0.0.0.0
t=0 0
a=control:rtsp://198.51.100.7:8554/cam/
m=video 0 RTP/AVP 96
a=control:rtsp://198.51.100.7:8554/cam/trackID=0
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=1; profile-level-id=42C01E; sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==
m=audio 0 RTP/AVP 0
a=control:rtsp://198.51.100.7:8554/cam/trackID=1
a=rtpmap:0 PCMU/8000
`),
	"onvif back channel": crlf(`v=0
o=- 2890844256 2890842807 IN IP4 198.51.100.7
s=RTSP Session with audiobackchannel
u=http://198.51.100.7/help?token=s3cret
p=+1 617 555-6011
t=0 0
a=range:npt=now-
m=audio 0 RTP/AVP 0
a=control:rtsp://198.51.100.7/audioback
a=rtpmap:0 PCMU/8000
a=sendonly
m=video 0 RTP/AVP 26
c=IN IP4 198.51.100.7
a=control:rtsp://198.51.100.7/video
a=recvonly
m=audio 49170/2 RTP/AVP 0
a=rtcp:49173 IN IP4 198.51.100.7
a=control:rtsp://198.51.100.7/audio
a=recvonly
m=application 0 RTP/AVP 107
b=TIAS:64000
a=control:rtsp://198.51.100.7/metadata
a=rtpmap:107 vnd.onvif.metadata/90000
a=recvonly
`),
	// Bare line ends, upper-case URLs, keys, lines nobody knows.
	"odd": `v=0
o=root@198.51.100.7 1 x IN IP6 2001:db8::7
s=rtsp://198.51.100.7/s3cret
i=see http://198.51.100.7/
k=clear:s3cret
b=AS:100
z=0 0
a=Control:RTSP://198.51.100.7/
a=x-base:RTSPS://u:s3cret@198.51.100.7/
a=rtsp://198.51.100.7/bare
a=x-unknown
w=unknown line

m=video 5004/2 RTP/AVP 96 97
k=clear:s3cret
i=the picture
a=rtpmap:97 rtx/90000
a=rtpmap:96 JPEG2000/90000
a=rtcp-fb:96 nack
a=extmap:1 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:s3cret
a=key-mgmt:mikey s3cret
a=candidate:1 1 UDP 1 198.51.100.7 5000 typ host
a=framesize:96 1920-1080
garbage
`,
}

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }
