package cache

import (
	"bytes"
	"io"
	"math"
	"mime"
	mimepart "mime/multipart"
	"slices"
	"strings"
	"testing"
)

// RFC 9110 §14.1.1, §14.1.2, §14.2; RFC 8673 §2.
func TestParseRange(t *testing.T) {
	f := func(field string, want ...rangeSpec) {
		t.Helper()
		got, ok := parseRange(field)
		if ok != (len(want) > 0) || !slices.Equal(got, want) {
			t.Errorf("parseRange(%.60q) = %v, %v, want %v", field, got, ok, want)
		}
	}
	f("bytes=0-99", rangeSpec{0, 100})
	f("bytes=0-0", rangeSpec{0, 1})
	f("bytes=5-", rangeSpec{5, -1})
	f("bytes=-5", rangeSpec{-1, 5})
	f("bytes=-0", rangeSpec{-1, 0})
	f("BYTES=007-8", rangeSpec{7, 9})
	f("bytes=0-1,3-4 ,\t-1", rangeSpec{0, 2}, rangeSpec{3, 5}, rangeSpec{-1, 1})
	f("bytes=,0-1,,", rangeSpec{0, 2})
	f("bytes= 0-1 ", rangeSpec{0, 2})

	f("bytes=7-9007199254740991", rangeSpec{7, 1 << 53})
	f("bytes=0-9223372036854775806", rangeSpec{0, math.MaxInt64})
	f("bytes=0-9223372036854775807", rangeSpec{0, math.MaxInt64})
	f("bytes=0-99999999999999999999999", rangeSpec{0, math.MaxInt64})
	f("bytes=99999999999999999999999-", rangeSpec{math.MaxInt64, -1})
	f("bytes=-99999999999999999999999", rangeSpec{-1, math.MaxInt64})

	f("")
	f("bytes")
	f("bytes=")
	f("bytes=,")
	f("bytes=-")
	f("bytes=1")
	f("bytes=2-1")
	f("bytes=0-1,2-1")
	f("bytes=--1")
	f("bytes=1-2-3")
	f("bytes=0 - 1")
	f("bytes=+0-1")
	f("bytes=0x1-2")
	f("bytes=0-1;q=1")
	f("bytes:0-1")
	f("items=0-1")
	f("bytes 0-1/2")
	f("bytes=0-1, bytes=2-3")
	f("bytes=" + strings.Repeat("0-0,", maxRanges+1))

	got, ok := parseRange("bytes=" + strings.Repeat("0-0,", maxRanges))
	if !ok || len(got) != maxRanges {
		t.Errorf("%d ranges: %v, %v", maxRanges, got, ok)
	}
}

// RFC 9110 §14.1.2, §15.5.17.
func TestResolve(t *testing.T) {
	f := func(field string, size int64, wantWhole bool, want ...span) {
		t.Helper()
		specs, ok := parseRange(field)
		got, whole := resolve(specs, size)
		if !ok || whole != wantWhole || !slices.Equal(got, want) {
			t.Errorf("resolve(%q, %d) = %v, %v, want %v, %v", field, size, got, whole, want, wantWhole)
		}
	}
	f("bytes=0-9", 100, false, span{0, 10})
	f("bytes=0-", 100, false, span{0, 100})
	f("bytes=99-", 100, false, span{99, 100})
	f("bytes=90-200", 100, false, span{90, 100})
	f("bytes=90-9007199254740991", 100, false, span{90, 100})
	f("bytes=0-99999999999999999999", 100, false, span{0, 100})
	f("bytes=-10", 100, false, span{90, 100})
	f("bytes=-200", 100, false, span{0, 100})
	f("bytes=-99999999999999999999", 100, false, span{0, 100})

	f("bytes=100-", 100, false)
	f("bytes=100-200", 100, false)
	f("bytes=-0", 100, false)
	f("bytes=99999999999999999999-", 100, false)
	f("bytes=0-", 0, false)
	f("bytes=-1", 0, false)

	f("bytes=50-59,0-9", 100, false, span{50, 60}, span{0, 10})
	f("bytes=0-9,10-19", 100, false, span{0, 10}, span{10, 20})
	f("bytes=0-9,200-300,-0,-10", 100, false, span{0, 10}, span{90, 100})
	f("bytes=0-9,9-19", 100, true)
	f("bytes=50-59,0-50", 100, true)
	f("bytes=0-,0-", 100, true)
	f("bytes=0-,-1", 100, true)
	f("bytes=0-98,98-99,1-1", 100, true)
}

// RFC 9110 §14.4.
func TestParseContentRange(t *testing.T) {
	f := func(field string, want span, wantSize int64, wantOK bool) {
		t.Helper()
		s, size, ok := parseContentRange(field)
		if s != want || size != wantSize || ok != wantOK {
			t.Errorf("parseContentRange(%q) = %v, %d, %v, want %v, %d, %v", field, s, size, ok, want, wantSize, wantOK)
		}
	}
	f("bytes 0-99/1000", span{0, 100}, 1000, true)
	f("bytes 0-99/100", span{0, 100}, 100, true)
	f("Bytes 5-5/*", span{5, 6}, -1, true)
	f("bytes */1000", span{}, 1000, true)
	f("bytes */0", span{}, 0, true)
	f("bytes 0-9223372036854775805/9223372036854775806", span{0, math.MaxInt64 - 1}, math.MaxInt64-1, true)

	bad := func(field string) {
		t.Helper()
		f(field, span{}, 0, false)
	}
	bad("")
	bad("bytes")
	bad("bytes 0-99")
	bad("bytes 0-99/")
	bad("bytes */*")
	bad("bytes -5/100")
	bad("bytes 5-/100")
	bad("bytes 5-4/100")
	bad("bytes 0-100/100")
	bad("bytes 0-0/0")
	bad("bytes 0-1/-5")
	bad("bytes 0-1/x")
	bad("bytes=0-1/2")
	bad("bytes: 0-1/2")
	bad("items 0-1/2")
	bad("bytes 0-1,3-4/10")
	bad("bytes  0-1/2")
	bad("bytes 0 - 1/2")
	bad("bytes 0-99999999999999999999/*")
	bad("bytes */99999999999999999999")
}

func TestContentRange(t *testing.T) {
	f := func(s span, size int64, want string) {
		t.Helper()
		if got := contentRange(s, size); got != want {
			t.Errorf("contentRange(%v, %d) = %q, want %q", s, size, got, want)
		}
	}
	f(span{0, 100}, 1000, "bytes 0-99/1000")
	f(span{5, 6}, -1, "bytes 5-5/*")
	f(span{}, 1000, "bytes */1000")
	f(span{}, 0, "bytes */0")
}

// A reader of multiparts finds each span's bytes, and no byte more is sent than was said.
func TestMultipart(t *testing.T) {
	object := []byte("0123456789abcdefghijklmnopqrstuvwxyz")
	f := func(contentType string, spans ...span) {
		t.Helper()
		m := newMultipart(spans, int64(len(object)), contentType)
		var body bytes.Buffer
		for i, s := range spans {
			body.WriteString(m.heads[i])
			body.Write(object[s.from:s.to])
		}
		body.WriteString(m.tail)
		if int64(body.Len()) != m.length {
			t.Errorf("%v: length %d, want %d", spans, m.length, body.Len())
		}
		media, params, err := mime.ParseMediaType(m.contentType)
		if err != nil || media != "multipart/byteranges" {
			t.Fatalf("content type %q: %v", m.contentType, err)
		}
		r := mimepart.NewReader(&body, params["boundary"])
		for _, s := range spans {
			checkPart(t, r, contentType, contentRange(s, int64(len(object))), object[s.from:s.to])
		}
		if _, err := r.NextPart(); err != io.EOF {
			t.Errorf("%v: after the last part: %v, want its end", spans, err)
		}
	}
	f("video/mp4", span{0, 10}, span{20, 36})
	f("text/plain; charset=utf-8", span{30, 31}, span{5, 6}, span{0, 2})
	f("", span{0, 1}, span{2, 3})
	f("video/mp4", span{0, 36})
}

func checkPart(t *testing.T, r *mimepart.Reader, contentType, contentRange string, want []byte) {
	t.Helper()
	part, err := r.NextRawPart()
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(part)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("a part holds %q, %v, want %q", got, err, want)
	}
	if ct, cr := part.Header.Get("Content-Type"), part.Header.Get("Content-Range"); ct != contentType || cr != contentRange {
		t.Errorf("a part is of %q, %q, want %q, %q", ct, cr, contentType, contentRange)
	}
}

func TestMultipartBoundaries(t *testing.T) {
	spans := []span{{0, 1}, {2, 3}}
	if a, b := newMultipart(spans, 9, ""), newMultipart(spans, 9, ""); a.contentType == b.contentType {
		t.Errorf("two answers have the same boundary: %q", a.contentType)
	}
}

func FuzzRange(f *testing.F) {
	f.Add("bytes=0-99,-5,7-", int64(100))
	f.Add("bytes=0-99999999999999999999,99999999999999999999-", int64(math.MaxInt64))
	f.Add("bytes=,,-0", int64(0))
	f.Fuzz(func(t *testing.T, field string, size int64) {
		size = max(size, 0)
		specs, ok := parseRange(field)
		if ok != (len(specs) > 0) || len(specs) > maxRanges {
			t.Fatalf("parseRange(%q) = %v, %v", field, specs, ok)
		}
		spans, whole := resolve(specs, size)
		left := size
		for _, s := range spans {
			if s.from < 0 || s.from >= s.to || s.to > size {
				t.Errorf("resolve(%q, %d) = %v: not within it", field, size, spans)
			}
			left -= s.to - s.from
		}
		if left < 0 || whole && len(spans) > 0 {
			t.Errorf("resolve(%q, %d) = %v, %v: more than there is", field, size, spans, whole)
		}
	})
}

func FuzzContentRange(f *testing.F) {
	f.Add("bytes 0-99/1000")
	f.Add("bytes 5-5/*")
	f.Add("BYTES */1000")
	f.Add("bytes 0-9223372036854775806/9223372036854775807")
	f.Fuzz(func(t *testing.T, field string) {
		s, size, ok := parseContentRange(field)
		if !ok {
			return
		}
		if s.from < 0 || s.to < s.from || size >= 0 && s.to > size || size < -1 {
			t.Errorf("parseContentRange(%q) = %v, %d", field, s, size)
		}
		text := contentRange(s, size)
		if again, sizeAgain, ok := parseContentRange(text); !ok || again != s || sizeAgain != size {
			t.Errorf("parseContentRange(%q) = %v, %d, but of %q %v, %d", field, s, size, text, again, sizeAgain)
		}
	})
}
