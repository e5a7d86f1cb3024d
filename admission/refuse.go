package admission

import (
	"errors"
	"math/rand/v2"
	"time"

	"weir/proxy"
)

// refuse is a refusal with what the log is to say, which must not have anything
// secret in it.
func refuse(reason proxy.Reason, why string) *proxy.Refusal {
	return &proxy.Refusal{Reason: reason, Err: errors.New(why)}
}

// later is a refusal that asks to come back after a time between two, so that
// those who are refused together do not come back together.
func later(reason proxy.Reason, why string, least, most time.Duration) *proxy.Refusal {
	r := refuse(reason, why)
	r.RetryAfter = least + rand.N(most-least)
	return r
}

// noRoom is one of those that say that somebody else has to leave first.
func noRoom(reason proxy.Reason, why string) *proxy.Refusal {
	return later(reason, why, 2*time.Second, 10*time.Second)
}
