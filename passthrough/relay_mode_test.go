package passthrough

import (
	"testing"
	"time"

	"weir/proxy"
	"weir/proxy/proxytest"
)

func TestMode(t *testing.T) {
	proxytest.TestMode(t, func(env proxy.Env) (proxy.Mode, error) {
		return New(Options{UDP: "21000-21999", Beat: 5 * time.Millisecond, Timeout: 2 * time.Second, Lag: time.Second}, env)
	})
}
