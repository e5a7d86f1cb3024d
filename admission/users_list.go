package admission

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"weir/proxy"
)

// maxUserName is in bytes.
const maxUserName = 255

// A userList is one reading of the file, and what was verified with it: a new
// reading knows nothing of passwords that the last one took.
type userList struct {
	byName    map[string]*user
	strangers []passwordHash // what passwords of names that are not there are compared with: a hash for each user, the cheap ones first
	anyDigest bool           // somebody can use Digest
	allDigest bool           // everybody can
	passwords *passwords
}

// A user is one line.
type user struct {
	grant *grant
	hash  passwordHash
	ha1   string // RFC 2617 §3.2.2.2, in small hexadecimal; "" for those who cannot use Digest
}

// parseUsers reads a line each of "name:hash" or "name:realm:HA1", with options
// behind it. Its errors name the line, and nothing that is in it: where somebody
// made a mistake, a password may be anywhere.
//
// That there is nobody is an error, so that a file which is just being written
// shuts nobody out.
func parseUsers(text []byte, realm string, classes Classes, turns *hashing) (*userList, error) {
	l := &userList{byName: map[string]*user{}, allDigest: true, passwords: newPasswords(turns)}
	r := userReader{realm, classes}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, u, err := r.user(line)
		if err == nil && l.byName[name] != nil {
			err = errors.New("the name is there twice")
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		l.byName[name] = u
		l.anyDigest = l.anyDigest || u.ha1 != ""
		l.allDigest = l.allDigest && u.ha1 != ""
		l.strangers = append(l.strangers, nobodys{u.hash})
	}
	if l.strangers == nil {
		return nil, errors.New("there is nobody in it")
	}
	slices.SortStableFunc(l.strangers, func(a, b passwordHash) int { return a.cost() - b.cost() })
	return l, nil
}

// stranger is the hash for a name that is not there, which n stands for: each is
// compared as one of the users is, as many with each kind of hash as there are users
// who have it. With one kind for all of them, the dearest say, names with others
// would tell by their time that they exist. When the file is read anew few change
// their kind, as users do.
func (l *userList) stranger(n uint64) passwordHash {
	i, _ := bits.Mul64(n, uint64(len(l.strangers)))
	return l.strangers[i]
}

// A userReader reads lines.
type userReader struct {
	realm   string
	classes Classes
}

func (r userReader) user(line string) (name string, u *user, err error) {
	name, rest, ok := strings.Cut(line, ":")
	if !ok || name == "" {
		return "", nil, errors.New("is not a name, a colon and a hash")
	}
	if len(name) > maxUserName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return "", nil, fmt.Errorf("has a name of more than %d bytes, or with what is no text", maxUserName)
	}
	u = &user{grant: &grant{subject: name}}
	var options string
	if ha1, ok := strings.CutPrefix(rest, r.realm+":"); ok {
		if ha1, options = cutBlank(ha1); !isHA1(ha1) {
			return "", nil, errors.New("has no 32 hexadecimal digits behind the realm, as htdigest writes them")
		}
		u.ha1 = strings.ToLower(ha1)
		u.hash = digestHash{name + ":" + r.realm + ":", u.ha1}
		return name, u, r.options(u.grant, options)
	}
	if otherRealm(rest) {
		return "", nil, fmt.Errorf("is of htdigest for another realm than %q: see -admission.realm", r.realm)
	}
	rest, options = cutBlank(rest)
	if u.hash, err = parsePasswordHash(rest); err != nil {
		return "", nil, err
	}
	return name, u, r.options(u.grant, options)
}

// otherRealm reports whether a line goes on as "realm:HA1".
func otherRealm(rest string) bool {
	if strings.HasPrefix(rest, "$") {
		return false
	}
	for i := range len(rest) {
		if ha1, _ := cutBlank(rest[i+1:]); rest[i] == ':' && isHA1(ha1) {
			return true
		}
	}
	return false
}

func isHA1(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == 32
}

// cutBlank cuts s around its first blanks.
func cutBlank(s string) (before, after string) {
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, ""
	}
	return s[:i], s[i:]
}

// options reads "class=gold max=2 path=/live path=/vod" into g. In a path a blank
// is %20.
func (r userReader) options(g *grant, s string) error {
	var paths under
	for n, option := range strings.Fields(s) {
		name, value, _ := strings.Cut(option, "=")
		var err error
		switch name {
		case "class":
			g.class, err = r.class(g.class, value)
		case "max":
			g.max, err = atLeastOne(g.max, value)
		case "path":
			var p string
			p, err = rooted(value)
			paths = append(paths, p)
		default:
			err = errors.New("is none of class=, max= and path=")
		}
		if err != nil {
			return fmt.Errorf("option %d behind the hash %w", n+1, err)
		}
	}
	if paths != nil {
		g.scope = paths
	}
	return nil
}

// class takes one that is configured; any, if there are none.
func (r userReader) class(was, value string) (string, error) {
	if was != "" || value == "" {
		return "", errors.New("is not the only class=, or has no name")
	}
	for _, c := range r.classes {
		if c.Name == value {
			return value, nil
		}
	}
	if len(r.classes) > 0 {
		return "", errors.New("is a class that -admission.class has not")
	}
	return value, nil
}

func atLeastOne(was int, value string) (int, error) {
	n, err := strconv.Atoi(value)
	if was != 0 || err != nil || n < 1 {
		return 0, errors.New("is not the only max=, or not a number from 1")
	}
	return n, nil
}

func rooted(value string) (string, error) {
	p, err := proxy.CleanPath(value)
	if err != nil || !strings.HasPrefix(value, "/") {
		return "", errors.New("is not a path like /live")
	}
	return p, nil
}
