package cache

import (
	"testing"

	"weir/proxy"
	"weir/proxy/proxytest"
)

func TestMode(t *testing.T) {
	proxytest.TestMode(t, func(env proxy.Env) (proxy.Mode, error) {
		o := testOptions()
		o.Dir, o.Disk = t.TempDir(), 16<<20
		return New(o, env)
	})
}
