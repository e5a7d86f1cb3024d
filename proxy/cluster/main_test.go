package cluster

import (
	"testing"

	"weir/proxy/proxytest"
)

func TestMain(m *testing.M) { proxytest.Main(m) }
