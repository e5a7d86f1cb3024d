package admission

import (
	"errors"
	"strings"

	"weir/proxy"
)

// worst joins those of some errors of ready, or nils, that say most: as long as one
// makes the node unready, those that do not are left out, since a Degraded among
// joined errors would make all of them one.
func worst(errs ...error) error {
	var failed []error
	var degraded []string
	for _, err := range errs {
		if err == nil {
			continue
		}
		if d, ok := errors.AsType[proxy.Degraded](err); ok {
			degraded = append(degraded, d.Error())
		} else {
			failed = append(failed, err)
		}
	}
	if len(failed) == 0 && len(degraded) > 0 {
		return proxy.Degraded(strings.Join(degraded, "; "))
	}
	return errors.Join(failed...)
}
