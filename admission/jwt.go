package admission

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/zap"

	"weir/proxy"
)

// maxJWT is the longest JSON Web Token, in bytes.
const maxJWT = 4 << 10

// A jwtSource verifies JSON Web Tokens (RFC 7519). The keys come from a URL or
// from a file, one of the two; when they cannot be read again the last ones go
// on, so that a key is withdrawn only by those who can be reached.
type jwtSource struct {
	options []jwt.ParserOption // all but the time

	file   *file[jwtKeys]
	remote *jwks

	changed func() // called when there are other keys; to be set before run; nil for nobody
}

// newJWT reads a file of keys; those of a URL are fetched by run. It is nil if no
// keys are configured.
func newJWT(o *Options, log *zap.Logger) (*jwtSource, error) {
	if o.JWT == "" {
		return nil, nil
	}
	algorithms, err := jwtAlgorithms(o.JWTAlgorithms)
	if err != nil {
		return nil, err
	}
	j := &jwtSource{options: jwtOptions(o, algorithms)}
	if isURL(o.JWT) {
		j.remote, err = newJWKS(o.JWT, algorithms, log)
	} else {
		j.file, err = readFile("admission.jwt", o.JWT, jwtFileParser(algorithms), log)
	}
	if err != nil {
		return nil, err
	}
	if j.file != nil {
		j.file.changed = j.tell
	} else {
		j.remote.changed = j.tell
	}
	return j, nil
}

// isURL reports whether what may be a URL or the name of a file is the former.
func isURL(s string) bool {
	scheme, _, ok := strings.Cut(s, "://")
	return ok && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https"))
}

// jwtAlgorithms reads a list of algorithms. "none" is not one (RFC 8725 §3.2).
func jwtAlgorithms(list string) ([]string, error) {
	names := strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
	for _, name := range names {
		switch name {
		case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512":
		default:
			return nil, fmt.Errorf("-admission.jwt-algorithms: %q is none of RS256 to RS512, PS256 to PS512, ES256 to ES512, EdDSA, HS256 to HS512", name)
		}
	}
	if len(names) == 0 {
		return nil, errors.New("-admission.jwt-algorithms: names none")
	}
	return names, nil
}

func jwtOptions(o *Options, algorithms []string) []jwt.ParserOption {
	options := []jwt.ParserOption{
		jwt.WithValidMethods(algorithms),
		jwt.WithExpirationRequired(),
		jwt.WithStrictDecoding(), // or one token could be written in several ways
	}
	if o.JWTIssuer != "" {
		options = append(options, jwt.WithIssuer(o.JWTIssuer))
	}
	if o.JWTAudience != "" {
		options = append(options, jwt.WithAudience(o.JWTAudience))
	}
	return options[:len(options):len(options)] // each verification appends to it
}

func (j *jwtSource) tell() {
	if j.changed != nil {
		j.changed()
	}
}

// run keeps the keys fresh until ctx is done.
func (j *jwtSource) run(ctx context.Context) {
	if j == nil {
		return
	}
	j.file.watch(ctx)
	j.remote.run(ctx)
}

// ready is nil if there are keys to verify with, and a file that they are from can
// still be read.
func (j *jwtSource) ready() error {
	switch {
	case j == nil:
		return nil
	case j.keys() == nil:
		return j.remote.why()
	}
	return j.file.ready()
}

// keys are nil as long as they have not been fetched.
func (j *jwtSource) keys() jwtKeys {
	if j.file != nil {
		return j.file.get()
	}
	return j.remote.get()
}

// verify returns what a token grants. It waits for keys to be fetched, at most
// jwksPatience, if the token names one that is not known and that was not done
// lately. Its errors are *proxy.Refusal, and hold nothing of the token:
// Forbidden for one whose time is not now, NoVerdict as long as no keys could be
// fetched, and else Unauthorized.
func (j *jwtSource) verify(token string, now time.Time) (*grant, error) {
	if len(token) > maxJWT {
		return nil, refuse(proxy.Unauthorized, "JSON Web Token longer than 4096 bytes")
	}
	c, err := j.parse(token, now)
	if errors.Is(err, errJWTKeyUnknown) && j.remote.renewed() {
		c, err = j.parse(token, now)
	}
	if err != nil {
		return nil, jwtRefusal(err)
	}
	g, err := c.grant(token)
	if err != nil {
		return nil, refuse(proxy.Unauthorized, "JSON Web Token: "+err.Error())
	}
	return g, nil
}

func (j *jwtSource) parse(token string, now time.Time) (*jwtClaims, error) {
	keys := j.keys()
	if keys == nil {
		return nil, errJWTNoKeys
	}
	var c jwtClaims
	p := jwt.NewParser(append(j.options, jwt.WithTimeFunc(func() time.Time { return now }))...)
	_, err := p.ParseWithClaims(token, &c, keys.find)
	return &c, err
}

// What can be wrong with the key of a token.
var (
	errJWTNoKeys     = errors.New("no keys yet")
	errJWTKeyUnknown = errors.New("key unknown")
	errJWTKeyWrong   = errors.New("key not for this algorithm")
	errJWTHeader     = errors.New("header not understood")
)

// jwtRefusals say for the log what is wrong with a token, the first that is true:
// what is expired is said only of a token that is good otherwise.
var jwtRefusals = []struct {
	err    error
	reason proxy.Reason
	why    string
}{
	{errJWTNoKeys, proxy.NoVerdict, "keys for JSON Web Tokens not fetched yet"},
	{errJWTKeyUnknown, proxy.Unauthorized, "JSON Web Token signed with a key that is not known"},
	{errJWTKeyWrong, proxy.Unauthorized, "JSON Web Token with an algorithm that its key is not for"},
	{errJWTHeader, proxy.Unauthorized, "JSON Web Token with a header that is not understood"},
	{jwt.ErrTokenMalformed, proxy.Unauthorized, "JSON Web Token malformed"},
	{jwt.ErrTokenSignatureInvalid, proxy.Unauthorized, "JSON Web Token with a bad signature, or an algorithm that is not accepted"},
	{jwt.ErrTokenRequiredClaimMissing, proxy.Unauthorized, "JSON Web Token without one of exp, iss, aud"},
	{jwt.ErrTokenInvalidIssuer, proxy.Unauthorized, "JSON Web Token of another issuer"},
	{jwt.ErrTokenInvalidAudience, proxy.Unauthorized, "JSON Web Token for another audience"},
	{jwt.ErrTokenExpired, proxy.Forbidden, "JSON Web Token has expired"},
	{jwt.ErrTokenNotValidYet, proxy.Forbidden, "JSON Web Token not valid yet"},
}

func jwtRefusal(err error) *proxy.Refusal {
	for _, r := range jwtRefusals {
		if !errors.Is(err, r.err) {
			continue
		}
		refusal := refuse(r.reason, r.why)
		if r.reason == proxy.NoVerdict {
			refusal.RetryAfter = jwksRetryAfter
		}
		return refusal
	}
	return refuse(proxy.Unauthorized, "JSON Web Token that cannot be verified")
}

// withoutURL is an error of an HTTP client without the URL, which may have
// credentials in it.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
