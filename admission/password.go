package admission

import (
	"crypto/md5"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

const (
	// maxPassword is in bytes, as maxBcrypt, behind which bcrypt does not look.
	maxPassword = 1024
	maxBcrypt   = 72
	// maxBcryptCost makes each password take 2 s or more.
	maxBcryptCost = 15
	// Bounds of argon2id: memory in KiB, which each that is computed at once takes, and
	// rounds and lanes.
	maxArgonMemory, maxArgonTime, maxArgonLanes = 256 << 10, 16, 16
)

// A passwordHash is what is kept of a password.
type passwordHash interface {
	matches(password string) bool
	cost() int // roughly in µs; 0 if it is not worth while to wait for or to remember
}

// nobodys compares as another, and is never right.
type nobodys struct{ passwordHash }

func (h nobodys) matches(password string) bool {
	h.passwordHash.matches(password)
	return false
}

// A bcryptHash is bcrypt's, of at most 72 bytes: a longer password that is right
// so far is not right, and takes as long to say so.
type bcryptHash struct {
	text   []byte
	rounds int // 2 to this power
}

func (h *bcryptHash) matches(password string) bool {
	seen := password[:min(len(password), maxBcrypt)]
	return bcrypt.CompareHashAndPassword(h.text, []byte(seen)) == nil && len(password) <= maxBcrypt
}

func (h *bcryptHash) cost() int { return 50 << h.rounds }

// An argonHash is argon2id's (RFC 9106).
type argonHash struct {
	memory, time uint32
	lanes        uint8
	salt, sum    []byte
}

func (h *argonHash) matches(password string) bool {
	sum := argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.lanes, uint32(len(h.sum)))
	return subtle.ConstantTimeCompare(sum, h.sum) == 1
}

func (h *argonHash) cost() int { return 1 + int(h.memory*h.time) }

// A digestHash is htdigest's: MD5 over what is before the password and that.
type digestHash struct{ before, ha1 string }

func (h digestHash) matches(password string) bool {
	return subtle.ConstantTimeCompare([]byte(md5Hex(h.before+password)), []byte(h.ha1)) == 1
}

func (h digestHash) cost() int { return 0 }

func md5Hex(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

// parsePasswordHash reads what htpasswd -B writes, or argon2id.
func parsePasswordHash(s string) (passwordHash, error) {
	var kind string
	switch {
	case strings.HasPrefix(s, "$2a$"), strings.HasPrefix(s, "$2b$"), strings.HasPrefix(s, "$2y$"):
		return parseBcrypt(s)
	case strings.HasPrefix(s, "$argon2id$"):
		return parseArgon(s)
	case strings.HasPrefix(s, "$argon2"):
		kind = "another argon2 than argon2id"
	case strings.HasPrefix(s, "$apr1$"), strings.HasPrefix(s, "$1$"):
		kind = "MD5"
	case strings.HasPrefix(s, "{SHA"), strings.HasPrefix(s, "{SSHA"):
		kind = "SHA1"
	case strings.HasPrefix(s, "$5$"), strings.HasPrefix(s, "$6$"):
		kind = "crypt"
	default:
		kind = "no hash that is known"
	}
	return nil, fmt.Errorf("has %s: use htpasswd -B (bcrypt), argon2id or htdigest", kind)
}

func parseBcrypt(s string) (passwordHash, error) {
	const alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	if len(s) != 60 || s[6] != '$' || strings.Trim(s[7:], alphabet) != "" {
		return nil, errors.New("has bcrypt of another form than $2y$10$ and 53 characters")
	}
	cost, err := bcrypt.Cost([]byte(s))
	if err != nil || cost > maxBcryptCost {
		return nil, fmt.Errorf("has bcrypt of a cost that is not from %d to %d", bcrypt.MinCost, maxBcryptCost)
	}
	return &bcryptHash{[]byte(s), cost}, nil
}

// parseArgon reads $argon2id$v=19$m=65536,t=3,p=4$salt$hash.
func parseArgon(s string) (passwordHash, error) {
	f := strings.Split(s, "$")
	if len(f) != 6 || f[2] != "v=19" {
		return nil, errors.New("has argon2id of another form than $argon2id$v=19$m=65536,t=3,p=4$salt$hash")
	}
	p := strings.Split(f[3], ",")
	if len(p) != 3 {
		return nil, errors.New("has argon2id with other than m, t and p")
	}
	memory, memoryOK := argonNumber(p[0], "m=", maxArgonMemory)
	time, timeOK := argonNumber(p[1], "t=", maxArgonTime)
	lanes, lanesOK := argonNumber(p[2], "p=", maxArgonLanes)
	if !memoryOK || !timeOK || !lanesOK || memory < 8*lanes {
		return nil, fmt.Errorf("has argon2id with other than m up to %d and 8p at least, t up to %d and p up to %d", maxArgonMemory, maxArgonTime, maxArgonLanes)
	}
	salt, saltErr := base64.RawStdEncoding.Strict().DecodeString(f[4])
	sum, sumErr := base64.RawStdEncoding.Strict().DecodeString(f[5])
	if saltErr != nil || sumErr != nil || len(salt) < 8 || len(salt) > 64 || len(sum) < 16 || len(sum) > 64 {
		return nil, errors.New("has argon2id with other than a salt of 8 to 64 and a hash of 16 to 64 bytes, in base64 without =")
	}
	return &argonHash{uint32(memory), uint32(time), uint8(lanes), salt, sum}, nil
}

// argonNumber is from 1 to most.
func argonNumber(s, name string, most uint64) (uint64, bool) {
	s, named := strings.CutPrefix(s, name)
	n, err := strconv.ParseUint(s, 10, 32)
	return n, named && err == nil && n >= 1 && n <= most
}
