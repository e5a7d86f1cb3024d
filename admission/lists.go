package admission

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
	"sync"

	"github.com/gaissmai/bart"
	"go.uber.org/zap"

	"weir/proxy"
)

// lists say from where viewers may come. Nil lists let all in.
type lists struct {
	allow, deny list
	exclusive   bool // some Allow is configured, though its file may be empty
	// What check returns; shared, so never to be changed.
	denied, unlisted *proxy.Refusal
}

// newLists reads the words of Options.Allow and Options.Deny. Each is a prefix,
// an address or, if it is neither, the name of a file of them. It returns nil if
// there are none.
func newLists(o *Options, log *zap.Logger) (*lists, error) {
	if len(o.Allow) == 0 && len(o.Deny) == 0 {
		return nil, nil
	}
	allow, errAllow := newList("admission.allow", o.Allow, log)
	deny, errDeny := newList("admission.deny", o.Deny, log)
	if err := errors.Join(errAllow, errDeny); err != nil {
		return nil, err
	}
	return &lists{
		allow: allow, deny: deny, exclusive: len(o.Allow) > 0,
		denied:   refuse(proxy.Forbidden, "address is denied"),
		unlisted: refuse(proxy.Forbidden, "address is not among the allowed ones"),
	}, nil
}

// check is nil for an address that may come in. It allocates nothing.
func (l *lists) check(a netip.Addr) error {
	if l == nil {
		return nil
	}
	a = a.Unmap()
	switch {
	case l.deny.contains(a):
		return l.denied
	case l.exclusive && !l.allow.contains(a):
		return l.unlisted
	}
	return nil
}

// run reads files again when they change, until ctx is done.
func (l *lists) run(ctx context.Context) {
	if l == nil {
		return
	}
	var watches sync.WaitGroup
	defer watches.Wait()
	for _, list := range []list{l.allow, l.deny} {
		for _, f := range list.files {
			watches.Go(func() { f.watch(ctx) })
		}
	}
}

// ready tells of files that cannot be read any more.
func (l *lists) ready() error {
	if l == nil {
		return nil
	}
	var errs []error
	for _, list := range []list{l.allow, l.deny} {
		for _, f := range list.files {
			errs = append(errs, f.ready())
		}
	}
	return worst(errs...)
}

// len is how many prefixes allow and deny have now.
func (l *lists) len() (allow, deny int) {
	if l == nil {
		return 0, 0
	}
	return l.allow.len(), l.deny.len()
}

// A list is a set of prefixes. Every file has a table of its own, so that one
// that changes is swapped without the others; a lookup asks all of them.
type list struct {
	fixed *bart.Lite
	files []*file[*bart.Lite]
}

func newList(flag string, words []string, log *zap.Logger) (list, error) {
	l := list{fixed: &bart.Lite{}}
	var errs []error
	for _, w := range words {
		if p, err := parsePrefix(w); err == nil {
			l.fixed.Insert(p)
			continue
		}
		f, err := readFile(flag, w, parseList, log)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w, and it is no address or prefix either", err)
		}
		errs = append(errs, err)
		l.files = append(l.files, f)
	}
	return l, errors.Join(errs...)
}

// contains takes an address that is not 4-in-6; its zone does not matter.
func (l list) contains(a netip.Addr) bool {
	if l.fixed.Contains(a) {
		return true
	}
	for _, f := range l.files {
		if f.get().Contains(a) {
			return true
		}
	}
	return false
}

func (l list) len() int {
	n := l.fixed.Size()
	for _, f := range l.files {
		n += f.get().Size()
	}
	return n
}

// parseList reads a prefix or an address a line. Empty lines and what follows #
// are skipped. A file in which nothing is left is an empty list, not a mistake.
func parseList(text []byte) (*bart.Lite, error) {
	t, n := &bart.Lite{}, 0
	for line := range strings.Lines(string(text)) {
		n++
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		p, err := parsePrefix(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %.64q is no address or prefix", n, line)
		}
		t.Insert(p)
	}
	return t, nil
}

// parsePrefix reads a prefix, or an address, whose zone is dropped. 4-in-6 is
// IPv4. Bits behind the prefix are cut off: 10.1.2.3/8 is 10.0.0.0/8.
func parsePrefix(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return unmapped(p), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// unmapped is a prefix of 4-in-6 as one of IPv4: ::ffff:10.0.0.0/104 is
// 10.0.0.0/8. Others stay as they are.
func unmapped(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

// tableOf is for addresses that are not 4-in-6.
func tableOf(prefixes []netip.Prefix) *bart.Lite {
	t := &bart.Lite{}
	for _, p := range prefixes {
		t.Insert(unmapped(p))
	}
	return t
}
