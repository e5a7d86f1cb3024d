package cluster

import (
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestMemberLog(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	l := newMemberLog(zap.New(core))
	f := func(line string, level zapcore.Level, want string) {
		t.Helper()
		l.Printf("%s", line)
		all := logs.TakeAll()
		if len(all) != 1 || all[0].Level != level || all[0].ContextMap()["said"] != want {
			t.Errorf("%q is logged as %+v, want %v %q", line, all, level, want)
		}
	}
	f("[DEBUG] memberlist: Stream connection from=127.0.0.1:1", zap.DebugLevel, "Stream connection from=127.0.0.1:1")
	f("[INFO] memberlist: Suspect a has failed", zap.InfoLevel, "Suspect a has failed")
	f("[WARN] memberlist: Refuting", zap.WarnLevel, "Refuting")
	f("[ERR] memberlist: Decrypt packet failed", zap.WarnLevel, "Decrypt packet failed")
	f("Err: something", zap.WarnLevel, "Err: something")
	f("[odd", zap.WarnLevel, "[odd")
	f("[ERR] memberlist: "+strings.Repeat("x", 1000), zap.WarnLevel, strings.Repeat("x", longestLine))

	// Whoever makes memberlist complain per packet fills no disk.
	for range 1000 {
		l.Print("[ERR] memberlist: Decrypt packet failed")
	}
	if n := logs.Len(); n > 30 {
		t.Errorf("%d of 1000 lines at once", n)
	}
}
