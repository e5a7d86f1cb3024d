package cache

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// A shelf is what stands behind the operators' door.
type shelf interface {
	// purge takes out what p is about, or makes it stale, and says how many objects
	// that were. It remembers p for a minute, so that a fill under way is covered.
	purge(p purge) int
	// look lists objects whose path, as it stands in keys, begins with prefix, at most limit of them; more
	// says that there are others.
	look(prefix string, limit int) (objects []objectStatus, more bool)
}

// A purge is an order to forget. Exactly one of the first three is set.
type purge struct {
	URL    string // a target: path, or path?query as a viewer asks; all its variants
	Prefix string // of paths, as they stand in targets, whatever stands behind it: "/live/" is a folder, "/live" is "/lively", too; "/" is everything
	Tag    string // a word of Surrogate-Key, or a member of Cache-Tag

	Soft bool      // what is meant is validated before it is used again; else it is removed
	At   time.Time // when it was asked for on this node: what was fetched before is meant. Zero is now
}

// An objectStatus is what operators see of one stored object: of one variant, where
// an answer has several.
type objectStatus struct {
	Key     string   `json:"key"`                    // path, or path?query; after the host if it is part of the key
	Variant string   `json:"variant,omitempty"`      // what the request fields said that chose it (Vary)
	Status  int      `json:"status"`                 // of the stored answer, 200 or another
	Type    string   `json:"type,omitempty"`         // Content-Type
	Class   string   `json:"class,omitempty"`        // what it is to a player: live playlist, segment
	Tags    []string `json:"tags,omitempty"`         // that it can be purged by
	Size    int64    `json:"size_bytes"`             // -1 while it is not known
	Memory  int64    `json:"memory_bytes"`           // what of it is in RAM
	Disk    int64    `json:"disk_bytes"`             // what of it is on disk; the same bytes may be in both
	Age     float64  `json:"age_s"`                  // since the origin made or validated it (RFC 9111 §4.2.3)
	Fresh   float64  `json:"fresh_s"`                // for how long it may still be used unasked; negative: it is stale since
	Filling bool     `json:"being_filled,omitempty"` // the origin is still sending it
}

const (
	maxCall     = 64 << 10 // bytes of a call's body
	maxURLs     = 1000     // of one call
	maxTag      = 256      // bytes
	fewObjects  = 100      // listed if nobody says how many
	manyObjects = 10_000   // listed at most
)

// A door is the operators' way to the cache: purge it, look into it. It is mounted
// behind the guard of proxy/admin, which asks for the token and turns away what
// another site's page sends.
type door struct {
	shelf  shelf
	spread func(purge) // to the other nodes of the cluster
}

// newDoor returns the door of a shelf; spread is given each purge, too. What it
// answers:
//
//	POST /purge     {"url": U} or {"urls": [U, …]} or {"prefix": P} or {"tag": T}, each with
//	                "soft": true if wanted; or the same as query or form. Answers {"purged": n}
//	PURGE /purge    the same
//	GET /objects    ?prefix=P&limit=N: {"objects": […], "more": true|false}
//
// A U or P is a path, or an http(s) URL, of which host and scheme do not count. n is
// what this node had: the others have their own.
func newDoor(s shelf, spread func(purge)) http.Handler {
	d := &door{s, spread}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", help)
	mux.HandleFunc("GET /objects", d.objects)
	mux.HandleFunc("POST /purge", d.purge)
	mux.HandleFunc("PURGE /purge", d.purge)
	return mux
}

// help is for who comes here from the status page.
func help(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(w, "GET objects?prefix=/live/&limit=100   what is stored\n"+ //nolint:errcheck // the operator has left
		"POST purge with url, prefix or tag    forget it; soft=true validates it instead\n"+
		"\nweir purge does the latter from the command line.\n")
}

// purge forgets what a call names, here and on the other nodes.
func (d *door) purge(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCall))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		http.Error(w, fmt.Sprintf("One call has at most %d bytes.", maxCall), http.StatusRequestEntityTooLarge)
		return
	}
	var purges []purge
	if err == nil {
		purges, err = readCall(r.URL.RawQuery, body)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	n, now := 0, time.Now()
	for _, p := range purges {
		p.At = now
		n += d.shelf.purge(p)
		d.spread(p)
	}
	answer(w, map[string]int{"purged": n})
}

// objects lists what is stored.
func (d *door) objects(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	prefix, limit := "/", fewObjects
	var err error
	if p := q.Get("prefix"); p != "" {
		prefix, err = readPrefix(p)
	}
	if l := q.Get("limit"); l != "" && err == nil {
		if limit, err = strconv.Atoi(l); err != nil || limit < 1 || limit > manyObjects {
			err = fmt.Errorf("a limit is a number from 1 to %d", manyObjects)
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	list := struct {
		Objects []objectStatus `json:"objects"`
		More    bool           `json:"more"`
	}{}
	if list.Objects, list.More = d.shelf.look(prefix, limit); list.Objects == nil {
		list.Objects = []objectStatus{} // a list in JSON, too
	}
	answer(w, list)
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false) // keys have "&"
	enc.Encode(v)            //nolint:errcheck // the operator has left
}
