"""An RTSP origin that is not ours: gst-rtsp-server, for tests.

usage: gstorigin.py STORED.mp4

/live is made while it is watched and has no end; /vod is the file, H.264 and
AAC. The first line on standard output is the address. Each line on standard input
is answered by one line of JSON: the sessions and connections there are now, and
how often each method was asked since the start. The end of standard input ends
the server, so that it cannot outlive its test.
"""

import json
import sys
import threading
from collections import Counter

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer

# Groups of ten pictures. Each session has an encoder of its own: of one that is shared,
# the server may take a picture or two from all when somebody pauses.
LIVE = (
    "( videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=25/1"
    " ! openh264enc gop-size=10 bitrate=400000 ! h264parse config-interval=-1"
    " ! rtph264pay name=pay0 pt=96"
    " audiotestsrc is-live=true wave=ticks samplesperbuffer=1024 ! audio/x-raw,rate=48000,channels=2"
    " ! avenc_aac bitrate=64000 ! aacparse ! rtpmp4gpay name=pay1 pt=97 )"
)
STORED = (
    '( filesrc location="{}" ! qtdemux name=d'
    " d. ! queue ! h264parse config-interval=-1 ! rtph264pay name=pay0 pt=96"
    " d. ! queue ! aacparse ! rtpmp4gpay name=pay1 pt=97 )"
)
METHODS = "options describe setup play pause teardown get-parameter set-parameter".split()


class Tally:
    """What the server saw. Clients live on threads of the server's own."""

    def __init__(self, server):
        self.pool = server.get_session_pool()
        self.lock = threading.Lock()
        self.requests = Counter()
        self.connections = 0
        server.connect("client-connected", self.connected)

    def connected(self, _server, client):
        with self.lock:
            self.connections += 1
        client.connect("closed", self.closed)
        for method in METHODS:
            client.connect(method + "-request", self.asked, method.replace("-", "_").upper())

    def closed(self, _client):
        with self.lock:
            self.connections -= 1

    def asked(self, _client, _context, method):
        with self.lock:
            self.requests[method] += 1

    def line(self):
        # Sessions whose owner has gone count until they time out.
        with self.lock:
            return json.dumps({"sessions": self.pool.get_n_sessions(),
                               "connections": self.connections, "requests": self.requests})


def factory(launch):
    f = GstRtspServer.RTSPMediaFactory()
    f.set_launch(launch)
    return f


def answer(tally, loop):
    for _ in sys.stdin:
        print(tally.line(), flush=True)
    loop.quit()


def main():
    Gst.init(None)
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service("0")
    mounts = server.get_mount_points()
    mounts.add_factory("/live", factory(LIVE))
    mounts.add_factory("/vod", factory(STORED.format(sys.argv[1])))
    tally = Tally(server)
    if not server.attach(None):
        sys.exit("cannot listen")
    print("127.0.0.1:%d" % server.get_bound_port(), flush=True)
    loop = GLib.MainLoop()
    threading.Thread(target=answer, args=(tally, loop), daemon=True).start()
    loop.run()


main()
