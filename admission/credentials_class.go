package admission

import (
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	// classTold is the least time between two lines about classes that are not configured.
	classTold = time.Minute
	// maxClassTold is how much of its name is logged, in bytes.
	maxClassTold = 64
)

// unknownClasses tells operators of viewers who are in the lowest class because
// their credentials, which are good, name one that -admission.class has not: a
// typing error there or where tokens are made. Such viewers are not refused, so
// that classes can be renamed while tokens are about.
type unknownClasses struct {
	classes Classes
	log     *zap.Logger

	mu   sync.Mutex
	told time.Time
}

// look is given the class of each grant; "" is none.
func (u *unknownClasses) look(class string, now time.Time) {
	if class == "" || u == nil || len(u.classes) == 0 || slices.ContainsFunc(u.classes, func(c Class) bool { return c.Name == class }) {
		return
	}
	u.mu.Lock()
	tell := u.told.IsZero() || now.Sub(u.told) >= classTold
	if tell {
		u.told = now
	}
	u.mu.Unlock()
	if tell {
		name := strings.ToValidUTF8(class[:min(len(class), maxClassTold)], "")
		u.log.Warn("credentials name a class that -admission.class has not: their viewers are in the lowest",
			zap.String("class", name), zap.String("lowest", u.classes.of(class)))
	}
}
