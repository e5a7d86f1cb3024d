package admission

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sync/singleflight"

	"weir/proxy"
)

const (
	// maxPassword is in bytes, as maxBcrypt, behind which bcrypt would not look.
	maxPassword = 1024
	maxBcrypt   = 72
	// maxHashing is how long somebody may wait for his turn.
	maxHashing = 10 * time.Second
	// maxWaiting is how many may wait for a hash to be computed.
	maxWaiting = 64
	// Bounds of argon2id: KiB of memory, rounds, and lanes.
	maxArgonMemory, maxArgonTime, maxArgonThreads = 256 << 10, 16, 16
)

// A passwordHash is what is kept of a password.
type passwordHash interface {
	matches(password string) bool
	cost() int // about, in µs
}

type bcryptHash []byte

func (h bcryptHash) matches(password string) bool {
	return bcrypt.CompareHashAndPassword(h, []byte(password[:min(len(password), maxBcrypt)])) == nil && len(password) <= maxBcrypt
}

func (h bcryptHash) cost() int {
	n, _ := bcrypt.Cost(h) // it was asked when the file was read
	return 50 << n
}

// An argonHash is argon2id (RFC 9106).
type argonHash struct {
	memory, time uint32
	threads      uint8
	salt, sum    []byte
}

func (h *argonHash) matches(password string) bool {
	sum := argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.threads, uint32(len(h.sum)))
	return subtle.ConstantTimeCompare(sum, h.sum) == 1
}

func (h *argonHash) cost() int { return int(h.memory * h.time) }

// A digestHash is htdigest's.
type digestHash struct{ before, ha1 string }

func (h digestHash) matches(password string) bool {
	return subtle.ConstantTimeCompare([]byte(md5Hex(h.before+password)), []byte(h.ha1)) == 1
}

func (h digestHash) cost() int { return 1 }

func md5Hex(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

// parseHash reads what is behind a name.
func parseHash(s, realm string) (passwordHash, error) {
	switch {
	case strings.HasPrefix(s, "$2a$"), strings.HasPrefix(s, "$2b$"), strings.HasPrefix(s, "$2y$"):
		if _, err := bcrypt.Cost([]byte(s)); err != nil || len(s) != 60 {
			return nil, errors.New("not a whole hash of bcrypt")
		}
		return bcryptHash(s), nil
	case strings.HasPrefix(s, "$argon2id$"):
		return parseArgon(s)
	case strings.Count(s, ":") == 1 && s[0] != '$':
		return nil, fmt.Errorf("a line of htdigest for another realm than %q (see -admission.realm)", realm)
	}
	return nil, errors.New("neither bcrypt (htpasswd -B), argon2id, nor a line of htdigest")
}

// parseArgon reads $argon2id$v=19$m=65536,t=3,p=4$salt$hash.
func parseArgon(s string) (passwordHash, error) {
	h := &argonHash{}
	f := strings.Split(s, "$")
	if len(f) != 6 || f[2] != "v=19" {
		return nil, errors.New("not a hash of argon2id, version 19")
	}
	if _, err := fmt.Sscanf(f[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &h.threads); err != nil ||
		h.memory < 8 || h.memory > maxArgonMemory || h.time < 1 || h.time > maxArgonTime || h.threads < 1 || h.threads > maxArgonThreads {
		return nil, fmt.Errorf("argon2id with other than m up to %d, t and p up to %d", maxArgonMemory, maxArgonTime)
	}
	var saltErr, sumErr error
	h.salt, saltErr = base64.RawStdEncoding.DecodeString(f[4])
	h.sum, sumErr = base64.RawStdEncoding.DecodeString(f[5])
	if saltErr != nil || sumErr != nil || len(h.salt) < 8 || len(h.sum) < 16 || len(h.sum) > 64 {
		return nil, errors.New("argon2id with a salt or hash that is none")
	}
	return h, nil
}

// hashing computes hashes, which are dear on purpose: few at a time, and each
// password that was right only once in a while.
type hashing struct {
	known   *verified
	secret  [32]byte // so that what is remembered is not a hash of passwords alone
	same    singleflight.Group
	slots   chan struct{}
	waiting atomic.Int32
}

func newHashing() *hashing {
	h := &hashing{known: newVerified(), slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
	rand.Read(h.secret[:]) //nolint:errcheck // never fails
	return h
}

// verify returns g if the password is right. A nil g is nobody's: then it never is.
func (h *hashing) verify(ctx context.Context, name, password string, hash passwordHash, g *grant) (*grant, error) {
	if len(name)+len(password) > maxPassword {
		return nil, refuse(proxy.Unauthorized, "name and password too long")
	}
	id := h.id(name, password)
	was, epoch := h.known.get(id, time.Now())
	if was != nil {
		return was, nil
	}
	if h.waiting.Add(1) > maxWaiting {
		h.waiting.Add(-1)
		return nil, later(proxy.TooFast, "too many passwords to verify", time.Second, 5*time.Second)
	}
	defer h.waiting.Add(-1)
	right, err, _ := h.same.Do(string(id[:]), func() (any, error) { return h.compute(ctx, password, hash) })
	switch {
	case err != nil:
		return nil, later(proxy.TooFast, "no time to verify a password", time.Second, 5*time.Second)
	case !right.(bool) || g == nil:
		return nil, refuse(proxy.Unauthorized, "wrong name or password")
	}
	h.known.add(id, g, time.Now(), epoch)
	return g, nil
}

// compute waits for its turn, whatever becomes of the one who asked first.
func (h *hashing) compute(ctx context.Context, password string, hash passwordHash) (bool, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxHashing)
	defer cancel()
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer func() { <-h.slots }()
	return hash.matches(password), nil
}

func (h *hashing) id(name, password string) [32]byte {
	b := make([]byte, 0, 256)
	b = binary.BigEndian.AppendUint32(append(b, h.secret[:]...), uint32(len(name)))
	return sha256.Sum256(append(append(b, name...), password...))
}
