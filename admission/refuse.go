package admission

import (
	"errors"

	"weir/proxy"
)

// refuse is a refusal with what the log is to say, which must not have anything
// secret in it.
func refuse(reason proxy.Reason, why string) *proxy.Refusal {
	return &proxy.Refusal{Reason: reason, Err: errors.New(why)}
}
