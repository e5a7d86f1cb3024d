"""A player that can be told what to do: GStreamer's playbin, for tests.

usage: gstplayer.py URL STEP...

Steps are done one after another: play=S plays for S seconds, counted from the
first picture or sound; pause=S is paused for S seconds; seek=S goes to second S.
Afterwards one line of JSON tells of every play what came to the sinks, in time:
how many pictures and pieces of sound, the first and the last position of a
picture in seconds, the longest time between two pictures, and how many RTP
packets were missing by then. A URL that begins with rtspt: or rtspu: names the
transport.
"""

import json
import os
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst

PATIENCE = 15  # seconds


class Play:
    """What came during one step of playing."""

    def __init__(self):
        self.began = threading.Event()
        self.count = {"video": 0, "audio": 0}
        self.first = self.last = None
        self.gap = 0.0
        self.lost = 0

    def add(self, kind, position):
        self.count[kind] += 1
        self.began.set()
        if kind == "audio":
            return
        if self.first is None:
            self.first = position
        else:
            self.gap = max(self.gap, position - self.last)
        self.last = position

    def report(self):
        return {"video": self.count["video"], "audio": self.count["audio"],
                "first": self.first, "last": self.last, "gap": round(self.gap, 3), "lost": self.lost}


class Player:
    """playbin, and what it has played."""

    def __init__(self, url):
        self.plays = []
        self.current = None  # the Play that is going on
        self.buffers = []  # elements that know what was missing
        self.bin = Gst.ElementFactory.make("playbin")
        self.bin.set_property("uri", url)
        for kind in "video", "audio":
            self.bin.set_property(kind + "-sink", self.sink(kind))
        self.bin.connect("deep-element-added", self.added)

    def sink(self, kind):
        s = Gst.ElementFactory.make("fakesink")
        s.set_property("sync", True)
        s.set_property("signal-handoffs", True)
        s.connect("handoff", self.arrived, kind)
        return s

    def added(self, _bin, _sub, element):
        if element.get_factory() and element.get_factory().get_name() == "rtpjitterbuffer":
            self.buffers.append(element)

    def arrived(self, _sink, buffer, pad, kind):
        play = self.current
        if play:
            segment = pad.get_sticky_event(Gst.EventType.SEGMENT, 0).parse_segment()
            play.add(kind, segment.to_stream_time(Gst.Format.TIME, buffer.pts) / Gst.SECOND)

    def lost(self):
        return sum(b.get_property("stats").get_value("num-lost") for b in self.buffers)

    def wait(self, seconds):
        """Lets time pass, and raises what goes wrong meanwhile."""
        wrong = Gst.MessageType.ERROR | Gst.MessageType.WARNING | Gst.MessageType.EOS
        message = self.bin.get_bus().timed_pop_filtered(int(seconds * Gst.SECOND), wrong)
        if message is None:
            return
        if message.type == Gst.MessageType.EOS:
            raise RuntimeError("ended early")
        error, detail = message.parse_error() if message.type == Gst.MessageType.ERROR else message.parse_warning()
        raise RuntimeError("%s (%s)" % (error.message, detail))

    def play(self, seconds):
        self.current = play = Play()
        self.plays.append(play)
        self.bin.set_state(Gst.State.PLAYING)
        waited = 0.0
        while not play.began.is_set():
            if waited > PATIENCE:
                raise RuntimeError("nothing to see or hear in %d s" % PATIENCE)
            self.wait(0.02)
            waited += 0.02
        self.wait(seconds)
        self.current = None
        play.lost = self.lost()

    def pause(self, seconds):
        self.bin.set_state(Gst.State.PAUSED)
        self.settle()
        self.wait(seconds)

    def seek(self, seconds):
        self.settle()
        if not self.bin.seek_simple(Gst.Format.TIME, Gst.SeekFlags.FLUSH | Gst.SeekFlags.KEY_UNIT, int(seconds * Gst.SECOND)):
            raise RuntimeError("cannot seek to %g s" % seconds)

    def settle(self):
        if self.bin.get_state(PATIENCE * Gst.SECOND)[0] not in (Gst.StateChangeReturn.SUCCESS, Gst.StateChangeReturn.NO_PREROLL):
            raise RuntimeError("does not come to rest")

    def close(self, failure):
        late = threading.Timer(PATIENCE, give_up, [failure])
        late.start()
        self.bin.set_state(Gst.State.NULL)
        late.cancel()


# GStreamer 1.22 now and then locks up when it is stopped after a seek over UDP,
# with no edge between, too. What was played has been reported by then.
def give_up(failure):
    print("does not stop", failure, file=sys.stderr, flush=True)
    os._exit(1 if failure else 0)


def main():
    Gst.init(None)
    player = Player(sys.argv[1])
    failure = None
    try:
        for step in sys.argv[2:]:
            verb, seconds = step.split("=")
            {"play": player.play, "pause": player.pause, "seek": player.seek}[verb](float(seconds))
    except RuntimeError as e:
        failure = "%s: %s" % (step, e)
    print(json.dumps([p.report() for p in player.plays]), flush=True)
    player.close(failure)
    sys.exit(failure)


main()
