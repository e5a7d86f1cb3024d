//go:build !linux

package admission

import "time"

// newSampler measures nothing: elsewhere nobody is shed.
func newSampler() func(time.Time) load {
	return func(time.Time) load { return load{unknown, unknown, unknown} }
}
