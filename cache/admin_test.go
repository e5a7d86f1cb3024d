package cache

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
)

// A fakeShelf remembers what it is told.
type fakeShelf struct {
	purges  []purge
	objects []objectStatus
	prefix  string
	limit   int
}

func (s *fakeShelf) purge(p purge) int {
	s.purges = append(s.purges, p)
	return 2
}

func (s *fakeShelf) look(prefix string, limit int) ([]objectStatus, bool) {
	s.prefix, s.limit = prefix, limit
	return s.objects, len(s.objects) > 0
}

// knock sends one request to a door, and returns what the shelf was told, and
// what was spread, without its time.
func knock(t *testing.T, method, target, body string) (res *http.Response, answer string, told []purge) {
	t.Helper()
	s := &fakeShelf{}
	var spread []purge
	door := newDoor(s, func(p purge) { spread = append(spread, p) })
	w := httptest.NewRecorder()
	door.ServeHTTP(w, httptest.NewRequest(method, target, strings.NewReader(body)))
	if !reflect.DeepEqual(spread, s.purges) {
		t.Errorf("%s %s %s: spread %v, purged %v", method, target, body, spread, s.purges)
	}
	for _, p := range s.purges {
		if time.Since(p.At) > time.Minute {
			t.Errorf("%s %s: purged what is older than %v", method, target, p.At)
		}
		p.At = time.Time{}
		told = append(told, p)
	}
	return w.Result(), w.Body.String(), told
}

func TestDoorPurges(t *testing.T) {
	f := func(method, target, body string, want ...purge) {
		t.Helper()
		res, answer, got := knock(t, method, target, body)
		if res.StatusCode != http.StatusOK || !reflect.DeepEqual(got, want) {
			t.Errorf("%s %s %s: %d %s, purged %+v, want %+v", method, target, body, res.StatusCode, answer, got, want)
		}
		var n struct{ Purged int }
		if err := json.Unmarshal([]byte(answer), &n); err != nil || n.Purged != 2*len(want) {
			t.Errorf("%s %s %s: answered %s", method, target, body, answer)
		}
	}
	f("POST", "/purge", `{"url":"/live/a.m3u8"}`, purge{URL: "/live/a.m3u8"})
	f("POST", "/purge", ` {"prefix":"/live/","soft":true}`, purge{Prefix: "/live/", Soft: true})
	f("POST", "/purge", `{"tag":"title-7"}`, purge{Tag: "title-7"})
	f("POST", "/purge", `{"urls":["/a","/b"],"soft":true}`, purge{URL: "/a", Soft: true}, purge{URL: "/b", Soft: true})
	f("POST", "/purge", `url=/a&url=/b%3Fx%3D1`, purge{URL: "/a"}, purge{URL: "/b?x=1"})
	f("POST", "/purge?soft=true", `tag=x`, purge{Tag: "x", Soft: true})
	f("POST", "/purge?prefix=/", "", purge{Prefix: "/"})
	f("PURGE", "/purge?url=/a", "", purge{URL: "/a"})

	// As a viewer asks, whatever the scheme and the host.
	f("PURGE", "/purge?url=https://cdn.example/live//./a.ts%3Fb%3D2%26a%3D1%23top", "", purge{URL: "/live/a.ts?b=2&a=1"})
	f("PURGE", "/purge?url=http://cdn.example", "", purge{URL: "/"})
	f("POST", "/purge", `{"url":"/a%20b/%C3%A9.ts"}`, purge{URL: "/a b/é.ts"})
	f("POST", "/purge", `{"url":"/folder/"}`, purge{URL: "/folder/"})
	f("POST", "/purge", `{"url":"/why%3F/a.ts?x"}`, purge{URL: "/why%3F/a.ts?x"})
	f("POST", "/purge", `{"prefix":"/why%3F/"}`, purge{Prefix: "/why%3F/"})
	f("POST", "/purge", `{"prefix":"http://cdn.example/live/seg"}`, purge{Prefix: "/live/seg"})
}

func TestDoorRefuses(t *testing.T) {
	f := func(method, target, body string, code int, want string) {
		t.Helper()
		res, answer, told := knock(t, method, target, body)
		if res.StatusCode != code || !strings.Contains(answer, want) || len(told) > 0 {
			t.Errorf("%s %s %.80s: %d %s, purged %v, want %d %s", method, target, body, res.StatusCode, answer, told, code, want)
		}
	}
	bad := http.StatusBadRequest
	f("POST", "/purge", "", bad, "one of url, urls, prefix and tag")
	f("POST", "/purge", `{"url":"/a","tag":"b"}`, bad, "one of")
	f("POST", "/purge?prefix=/a", `{"url":"/a"}`, bad, "one of")
	f("POST", "/purge", `{"url":"/a","sofft":true}`, bad, "sofft")
	f("POST", "/purge", `{"url":"/a"} {"url":"/b"}`, bad, "behind")
	f("POST", "/purge", `{"url":`, bad, "not understood")
	f("POST", "/purge", `url=/a&sofft=1`, bad, `"sofft" is not known`)
	f("POST", "/purge", `prefix=/a&prefix=/b`, bad, "twice")
	f("POST", "/purge", `url=/a&soft=maybe`, bad, "soft is true or false")
	f("POST", "/purge", `url=%zz`, bad, "not understood")
	f("POST", "/purge", `{"url":"live/a.ts"}`, bad, "begins with /")
	f("POST", "/purge", `{"url":"-soft"}`, bad, "begins with /")
	f("POST", "/purge", `{"url":"rtsp://cdn.example/cam"}`, bad, "http or https")
	f("POST", "/purge", `{"url":"/live/../secret"}`, bad, "no viewer")
	f("POST", "/purge", `{"url":"/a%2fb"}`, bad, "no viewer")
	f("POST", "/purge", `{"prefix":"/live/?a=1"}`, bad, "no query")
	f("POST", "/purge", `{"tag":"a b"}`, bad, "a tag has")
	f("POST", "/purge", `{"tag":"`+strings.Repeat("t", 257)+`"}`, bad, "a tag has")
	f("POST", "/purge", `{"urls":["/a","b"]}`, bad, "begins with /") // nothing, not one of them
	f("POST", "/purge", strings.Repeat("url=/a&", 1001), bad, "at most 1000 URLs")
	f("POST", "/purge", strings.Repeat("x", 64<<10+1), http.StatusRequestEntityTooLarge, "at most 65536 bytes")
	f("GET", "/purge?url=/a", "", http.StatusMethodNotAllowed, "")
	f("DELETE", "/purge?url=/a", "", http.StatusMethodNotAllowed, "")
	f("GET", "/nothing", "", http.StatusNotFound, "")
}

func TestDoorLists(t *testing.T) {
	f := func(target string, code int, prefix string, limit int, want string) {
		t.Helper()
		s := &fakeShelf{}
		w := httptest.NewRecorder()
		newDoor(s, func(purge) {}).ServeHTTP(w, httptest.NewRequest("GET", target, nil))
		if got := w.Body.String(); w.Code != code || s.prefix != prefix || s.limit != limit || !strings.Contains(got, want) {
			t.Errorf("%s: %d %q, looked for %d of %q, want %d %q, %d of %q", target, w.Code, got, s.limit, s.prefix, code, want, limit, prefix)
		}
	}
	f("/objects", 200, "/", 100, `{"objects":[],"more":false}`)
	f("/objects?prefix=/live/&limit=10000", 200, "/live/", 10000, `[]`)
	f("/objects?prefix=http://cdn.example/a%2520b", 200, "/a b", 100, `[]`)
	f("/objects?limit=10001", 400, "", 0, "from 1 to 10000")
	f("/objects?limit=0", 400, "", 0, "from 1 to 10000")
	f("/objects?limit=x", 400, "", 0, "from 1 to 10000")
	f("/objects?prefix=live", 400, "", 0, "begins with /")
	f("/", 200, "", 0, "weir purge")
}

func TestDoorListsObjects(t *testing.T) {
	s := &fakeShelf{objects: []objectStatus{{Key: "/a?b=1&c=2", Status: 200, Type: "video/mp2t", Size: -1, Memory: 5, Fresh: -0.5, Tags: []string{"x"}}}}
	w := httptest.NewRecorder()
	newDoor(s, func(purge) {}).ServeHTTP(w, httptest.NewRequest("GET", "/objects", nil))
	got, err := io.ReadAll(w.Result().Body)
	want := `{"objects":[{"key":"/a?b=1&c=2","status":200,"type":"video/mp2t","tags":["x"],"size_bytes":-1,"memory_bytes":5,"disk_bytes":0,"age_s":0,"fresh_s":-0.5}],"more":true}` + "\n"
	if err != nil || string(got) != want || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%s %v, want %s", got, err, want)
	}
}

// FuzzCall: whatever comes in, what goes out is a purge of one thing, canonical.
func FuzzCall(f *testing.F) {
	f.Add("soft=1", `{"url":"/a?b=c"}`)
	f.Add("url=http://x/a%252fb", "")
	f.Add("", "prefix=/a/&soft=0")
	f.Add("tag=t", "")
	f.Fuzz(func(t *testing.T, query, body string) {
		purges, err := readCall(query, []byte(body))
		if err != nil {
			return
		}
		for _, p := range purges {
			path := p.path()
			if (p.Tag == "") == (path == "") || p.Prefix != "" && p.URL != "" || path != "" && path[0] != '/' {
				t.Fatalf("%q %q: %+v", query, body, p)
			}
			if p.Tag == "" && (strings.Contains(path, "//") || strings.Contains(path, "/../")) {
				t.Fatalf("%q %q: %+v is not canonical", query, body, p)
			}
		}
	})
}
