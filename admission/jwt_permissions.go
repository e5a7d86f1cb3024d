package admission

import (
	"encoding/json"
	"path"
	"regexp"
	"strings"

	"weir/proxy"
)

// maxPermission is the longest regular expression of a permission, in bytes.
const maxPermission = 256

// permissions are what MediaMTX's claim allows: any one of them is enough.
type permissions []scope

func (p permissions) allows(path string) bool {
	for _, s := range p {
		if s.allows(path) {
			return true
		}
	}
	return false
}

// parsePermissions reads an array of {action, path}, or a string of JSON with
// one. What cannot be read allows nothing: other actions than to watch, a path
// or an expression that is not one.
func parsePermissions(raw json.RawMessage) permissions {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		raw = json.RawMessage(text)
	}
	var list []struct{ Action, Path string }
	if json.Unmarshal(raw, &list) != nil {
		return permissions{}
	}
	allowed := permissions{}
	for _, p := range list {
		if p.Action != "read" && p.Action != "playback" {
			continue
		}
		if s := parsePermission(p.Path); s != nil {
			allowed = append(allowed, s)
		}
	}
	return allowed
}

// parsePermission reads a path as MediaMTX writes it, without the slash at its
// beginning: "" for all, "~" and a regular expression, or the name of a stream.
func parsePermission(name string) scope {
	if name == "" {
		return under{"/"}
	}
	if expression, ok := strings.CutPrefix(name, "~"); ok {
		if len(expression) > maxPermission {
			return nil
		}
		if re, err := regexp.Compile(expression); err == nil {
			return matching{re}
		}
		return nil
	}
	clean, err := proxy.CleanPath(name)
	if err != nil || clean == "/" { // MediaMTX says "all" in one way only
		return nil
	}
	return named(clean)
}

// A named stream is that path, and the files of its HLS.
type named string

func (n named) allows(p string) bool {
	return p == string(n) || path.Dir(p) == string(n) && isPiece(p)
}

// matching are the streams whose names without the first slash match, and the
// files of their HLS.
type matching struct{ *regexp.Regexp }

func (m matching) allows(p string) bool {
	if m.MatchString(strings.TrimPrefix(p, "/")) {
		return true
	}
	dir := path.Dir(p)
	return isPiece(p) && dir != "/" && m.MatchString(strings.TrimPrefix(dir, "/"))
}
