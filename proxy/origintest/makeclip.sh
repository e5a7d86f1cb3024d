#!/bin/sh
# Makes clip.ts: 8 s that can be played round and round without a seam.
#
# Video: 200 frames, 25 a second, H.264 main without B-frames, a closed group of
# 25 frames each second, parameter sets before each key frame; the picture shows
# its time. Audio: 375 AAC-LC frames of 1024 samples at 48 kHz, a beep each
# second. The tone repeats every second, so the frames of the second 8 s of a
# longer encoding fit onto each other at both ends; the first would begin with
# the encoder's silence. One frame more is left out for the encoder's delay, so
# that beeps begin with the second.
#
# Needs ffmpeg with libx264. Made with ffmpeg 5.1.
set -eu
cd "$(dirname "$0")"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
quiet='-hide_banner -loglevel error -y'

ffmpeg $quiet -f lavfi -i testsrc2=size=640x360:rate=25 -frames:v 200 \
	-c:v libx264 -profile:v main -pix_fmt yuv420p -preset veryslow -bf 0 \
	-b:v 580k -maxrate 640k -bufsize 640k \
	-x264-params keyint=25:min-keyint=25:scenecut=0:open-gop=0:repeat-headers=1:aud=1 \
	-threads 1 -flags +bitexact "$tmp/video.h264"

ffmpeg $quiet -f lavfi -i "aevalsrc=exprs='if(lt(mod(t,1),0.1),0.25*sin(2*PI*880*t),0.02*sin(2*PI*220*t))':sample_rate=48000:duration=24:channel_layout=mono" \
	-ac 2 -c:a aac -profile:a aac_low -b:a 64k -flags +bitexact -f adts "$tmp/long.aac"
ffmpeg $quiet -ss 8.03 -i "$tmp/long.aac" -c copy -frames:a 375 -f adts "$tmp/audio.aac"

ffmpeg $quiet -r 25 -i "$tmp/video.h264" -i "$tmp/audio.aac" -map 0:v -map 1:a -c copy \
	-muxdelay 0 -muxpreload 0 -flags +bitexact -f mpegts clip.ts
