package cluster

import (
	"log"
	"strings"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/time/rate"
)

// longestLine bounds a line of memberlist's in bytes: some have in them what came
// from the network.
const longestLine = 300

// memberLog takes memberlist's lines to zap. Anybody can make memberlist complain
// once per packet, so it is heard five times a second at most, above debug.
type memberLog struct {
	log     *zap.Logger
	limit   *rate.Limiter
	skipped atomic.Int64
}

func newMemberLog(l *zap.Logger) *log.Logger {
	return log.New(&memberLog{log: l, limit: rate.NewLimiter(5, 20)}, "", 0)
}

// memberLevels are memberlist's. Its errors are what befell others and the network,
// never the end of anything here.
var memberLevels = map[string]zapcore.Level{
	"DEBUG": zap.DebugLevel, "INFO": zap.InfoLevel, "WARN": zap.WarnLevel, "ERR": zap.WarnLevel, "ERROR": zap.WarnLevel,
}

// Write implements io.Writer for one line.
func (m *memberLog) Write(b []byte) (int, error) {
	level, text := parseLine(string(b))
	entry := m.log.Check(level, "memberlist")
	switch {
	case entry == nil:
	case level > zap.DebugLevel && !m.limit.Allow():
		m.skipped.Add(1)
	default:
		fields := []zap.Field{zap.String("said", text)}
		if n := m.skipped.Swap(0); n > 0 {
			fields = append(fields, zap.Int64("lines_left_out", n))
		}
		entry.Write(fields...)
	}
	return len(b), nil
}

// parseLine takes a line like "[WARN] memberlist: text" apart.
func parseLine(line string) (zapcore.Level, string) {
	level := zap.WarnLevel
	text := strings.TrimSpace(line)
	if name, rest, ok := strings.Cut(strings.TrimPrefix(text, "["), "]"); ok {
		if l, ok := memberLevels[name]; ok {
			level, text = l, strings.TrimSpace(rest)
		}
	}
	text = strings.TrimPrefix(text, "memberlist: ")
	return level, text[:min(len(text), longestLine)]
}
