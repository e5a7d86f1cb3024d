package admission

import (
	"context"
	"fmt"
	"hash/maphash"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"weir/proxy"
)

// users knows names and passwords from a file, for Basic (RFC 7617) and Digest
// (RFC 2617: players of RTSP know no newer one). A nil *users is not configured.
type users struct {
	realm  string
	file   *file[*userList]
	nonces nonces
	seed   maphash.Seed // of this process: what strangers are compared with is the same in all readings
}

// newUsers reads the file, and starts nothing; changed is called after the file
// was read anew. Without a file it returns nil.
func newUsers(o *Options, changed func(), log *zap.Logger) (*users, error) {
	if o.Users == "" {
		return nil, nil
	}
	turns := newHashing(o.trusted) // one for all readings: they share the CPUs
	parse := func(text []byte) (*userList, error) { return parseUsers(text, o.Realm, o.Classes, turns) }
	f, err := readFile("admission.users", o.Users, parse, log)
	if err != nil {
		return nil, err
	}
	f.changed = changed
	return &users{realm: o.Realm, file: f, nonces: newNonces(), seed: maphash.MakeSeed()}, nil
}

// run reads the file again when it changes, until ctx is done.
func (u *users) run(ctx context.Context) {
	if u != nil {
		u.file.watch(ctx)
	}
}

// ready tells of a file that cannot be read any more.
func (u *users) ready() error { return u.file.ready() }

// basic verifies a name and a password, which may wait for others. What a wrong
// password costs says nothing of whether its name is there: see strangers. Errors
// are *proxy.Refusal: Unauthorized, or TooFast if there are too many to verify.
func (u *users) basic(ctx context.Context, l login) (*grant, error) {
	if len(l.name) > maxUserName || len(l.password) > maxPassword {
		return nil, refuse(proxy.Unauthorized, "name or password too long")
	}
	list := u.file.get()
	who, hash := list.byName[l.name], list.stranger(maphash.String(u.seed, l.name))
	if who != nil {
		hash = who.hash
	}
	right, err := list.passwords.verify(ctx, l, hash)
	if err != nil {
		return nil, err
	}
	if !right || who == nil {
		return nil, refuse(proxy.Unauthorized, "wrong name or password")
	}
	return who.grant, nil
}

// challenges are the values of WWW-Authenticate for a viewer who has shown
// nothing, the best first. Digest is offered only if all users can use it: ffmpeg
// and GStreamer choose it wherever it is, and do not go back to Basic when it
// fails. Over RTSP it is without qop and algorithm, which old players do not know.
func (u *users) challenges(protocol string, now time.Time, addr netip.Addr) []string {
	return u.ask(protocol, now, addr, "")
}

// ask is challenges with more behind that of Digest.
func (u *users) ask(protocol string, now time.Time, addr netip.Addr, more string) []string {
	basic := fmt.Sprintf(`Basic realm="%s"`, u.realm)
	if protocol == "http" {
		basic += `, charset="UTF-8"`
	}
	if !u.file.get().allDigest {
		return []string{basic}
	}
	digest := fmt.Sprintf(`Digest realm="%s", nonce="%s"`, u.realm, u.nonces.mint(now, addr))
	if protocol == "http" {
		digest += `, qop="auth", algorithm=MD5`
	}
	return []string{digest + more, basic}
}
