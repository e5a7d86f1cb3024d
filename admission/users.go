package admission

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"weir/proxy"
)

// users knows names and passwords from a file, for Basic and Digest (RFC 7617,
// RFC 2617: RTSP's players know no newer one).
type users struct {
	realm  string
	file   *file[*userList]
	hashes *hashing
	nonces nonces
}

// A userList is what the file says.
type userList struct {
	byName  map[string]*user
	digest  bool         // all of them can use it
	dearest passwordHash // what a name that is not there is compared with
}

// A user is one line.
type user struct {
	grant *grant
	hash  passwordHash
	ha1   string // RFC 2617 §3.2.2.2, in hexadecimal; "" for those who cannot use Digest
}

// newUsers reads the file; changed is called when it was read anew.
func newUsers(o *Options, changed func(), log *zap.Logger) (*users, error) {
	if o.Users == "" {
		return nil, nil
	}
	u := &users{realm: o.Realm, hashes: newHashing(), nonces: newNonces()}
	var err error
	u.file, err = readFile("admission.users", o.Users, func(b []byte) (*userList, error) { return parseUsers(b, o.Realm) }, log)
	if err != nil {
		return nil, err
	}
	u.file.changed = func() {
		u.hashes.known.clear()
		changed()
	}
	return u, nil
}

// run reads the file again when it changes.
func (u *users) run(ctx context.Context) {
	if u != nil {
		u.file.watch(ctx)
	}
}

// parseUsers reads a line each: name:hash or name:realm:HA1, and behind it options.
// Its errors name the line, and no hash.
func parseUsers(text []byte, realm string) (*userList, error) {
	l := &userList{byName: map[string]*user{}, digest: true}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if err := l.add(line, realm); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if l.dearest == nil {
		return nil, fmt.Errorf("there is nobody in it")
	}
	return l, lines.Err()
}

func (l *userList) add(line, realm string) error {
	name, rest, ok := strings.Cut(line, ":")
	if !ok || name == "" {
		return fmt.Errorf("not name:hash")
	}
	if l.byName[name] != nil {
		return fmt.Errorf("%s is there twice", name)
	}
	u := &user{grant: &grant{subject: name}}
	var options string
	if ha1, ok := strings.CutPrefix(rest, realm+":"); ok {
		ha1, options, _ = strings.Cut(ha1, " ")
		if b, err := hex.DecodeString(ha1); err != nil || len(b) != md5.Size {
			return fmt.Errorf("%s: not 32 hexadecimal digits behind the realm, as htdigest writes them", name)
		}
		u.ha1 = strings.ToLower(ha1)
		u.hash = digestHash{name + ":" + realm + ":", u.ha1}
	} else {
		l.digest = false
		var err error
		rest, options, _ = strings.Cut(rest, " ")
		if u.hash, err = parseHash(rest, realm); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := u.grant.options(options); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if l.dearest == nil || u.hash.cost() > l.dearest.cost() {
		l.dearest = u.hash
	}
	l.byName[name] = u
	return nil
}

// options reads "class=gold max=2 path=/live path=/vod".
func (g *grant) options(s string) error {
	var paths under
	for _, option := range strings.Fields(s) {
		name, value, _ := strings.Cut(option, "=")
		switch n, err := strconv.Atoi(value); {
		case name == "class" && value != "":
			g.class = value
		case name == "max" && err == nil && n > 0:
			g.max = n
		case name == "path":
			clean, err := proxy.CleanPath(value)
			if err != nil || clean != value {
				return fmt.Errorf("path=%s is not a path like /live", value)
			}
			paths = append(paths, clean)
		default:
			return fmt.Errorf("%q is none of class=, max= and path=", option)
		}
	}
	if paths != nil {
		g.scope = paths
	}
	return nil
}

// basic verifies a name and a password. Names that are not there cost as much as
// wrong passwords.
func (u *users) basic(ctx context.Context, name, password string) (*grant, error) {
	list := u.file.get()
	if who := list.byName[name]; who != nil {
		return u.hashes.verify(ctx, name, password, who.hash, who.grant)
	}
	return u.hashes.verify(ctx, name, password, list.dearest, nil)
}

// challenges are values of WWW-Authenticate. Digest is not offered if there are
// users who cannot use it: GStreamer takes it where it is, and tries nothing else
// when that fails. Over RTSP players know MD5 without qop best.
func (u *users) challenges(protocol string, now time.Time, addr netip.Addr) []string {
	return u.ask(protocol, now, addr, "")
}

// ask appends more to the challenge of Digest.
func (u *users) ask(protocol string, now time.Time, addr netip.Addr, more string) []string {
	basic, digest := fmt.Sprintf(`Basic realm="%s"`, u.realm), fmt.Sprintf(`Digest realm="%s", nonce="%s"`, u.realm, u.nonces.mint(now, addr))
	if protocol == "http" {
		basic += `, charset="UTF-8"`
		digest += `, qop="auth", algorithm=MD5`
	}
	if !u.file.get().digest {
		return []string{basic}
	}
	return []string{digest + more, basic}
}
