package cache

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// fillValue sets everything in v to something that is not its zero value.
func fillValue(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(1_700_000_000, 123_456_789).UTC()))
			return
		}
		for i := range v.NumField() {
			fillValue(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fillValue(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fillValue(key)
		fillValue(value)
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString("caf\xe9\x00<&>\u2028") // not UTF-8, and what JSON escapes
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(200)
	case reflect.Int, reflect.Int64:
		v.SetInt(-1)
	default:
		panic(fmt.Sprintf("BUG: what is a %v in a meta?", v.Type()))
	}
}

// Everything in a meta comes back, also what was added to it after this was written.
func TestDiskMetaRoundTrip(t *testing.T) {
	f := func(m *meta) {
		t.Helper()
		b, err := encodeMeta(m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeMeta(b)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("decodeMeta(encodeMeta(m)) = %+v, %v, want %+v", got, err, m)
		}
	}
	f(&meta{Chunk: 1})
	f(diskMetaOf(1))
	var full meta
	fillValue(reflect.ValueOf(&full).Elem())
	full.Chunk = 1
	f(&full)
}

// The names in files stay what they are, whatever they are called here.
func TestDiskMetaNames(t *testing.T) {
	m, err := decodeMeta([]byte(`{"Slice":7,"Verdict":{"Why":"no lifetime"}}`))
	if err != nil || m.Chunk != 7 || m.Verdict.Why != lacksLifetime {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestDiskHeadRoundTrip(t *testing.T) {
	f := func(h diskHead) {
		t.Helper()
		h.at = diskBlocks(diskFixed + int64(len(h.meta)))
		b := h.append(nil)
		got, err := readHead(bytes.NewReader(b), h.at+h.length, make([]byte, diskBlock))
		if err != nil || !reflect.DeepEqual(got, h) {
			t.Errorf("readHead(%+v) = %+v, %v", h, got, err)
		}
		if h.at < int64(len(b)) || h.at%diskBlock != 0 {
			t.Errorf("a head of %d bytes and the body at %d", len(b), h.at)
		}
	}
	f(diskHead{meta: []byte{}})
	f(diskHead{id: 1<<64 - 1, n: 1<<31 - 1, revision: 1<<32 - 1, length: 1 << 40, sum: 3, meta: []byte("{}")})
	f(diskHead{meta: make([]byte, diskBlock-diskFixed)})
	f(diskHead{meta: make([]byte, diskBlock-diskFixed+1)})
	f(diskHead{meta: make([]byte, diskMeta)})
}

func TestDiskNames(t *testing.T) {
	f := func(name string, want chunkName, mark string, ok bool) {
		t.Helper()
		got, gotMark, gotOK := parseName(name)
		if gotOK != ok || ok && (got != want || gotMark != mark) {
			t.Errorf("parseName(%q) = %v, %q, %v, want %v, %q, %v", name, got, gotMark, gotOK, want, mark, ok)
		}
	}
	c := chunkName{0x0123456789abcdef, 12}
	f("0123456789abcdef.12", c, "", true)
	f("0123456789abcdef.12.MARK.tmp", c, "MARK", true)
	f("0123456789abcdef.0", chunkName{c.id, 0}, "", true)
	f("0123456789abcdef.012", chunkName{}, "", false)
	f("0123456789abcdef.-1", chunkName{}, "", false)
	f("0123456789abcdef.+1", chunkName{}, "", false)
	f("0123456789abcdef.2147483648", chunkName{}, "", false)
	f("0123456789ABCDEF.1", chunkName{}, "", false)
	f("123456789abcdef.1", chunkName{}, "", false)
	f("0123456789abcdef", chunkName{}, "", false)
	f("0123456789abcdef.1.tmp", chunkName{}, "", false)
	f("0123456789abcdef.1.x", chunkName{}, "", false)
	f("holiday.jpg", chunkName{}, "", false)
	f(".tmp", chunkName{}, "", false)
	f("", chunkName{}, "", false)
	if got := c.folder(); got != "01" {
		t.Errorf("folder of %v = %q", c, got)
	}
}

func FuzzDiskHead(f *testing.F) {
	h := diskHead{id: 1, n: 2, revision: 3, length: 10, sum: 4, meta: []byte(`{"ID":1}`)}
	h.at = diskBlocks(diskFixed + int64(len(h.meta)))
	good := h.append(nil)
	f.Add(good, h.at+h.length)
	f.Add(good[:diskFixed], h.at)
	f.Add([]byte(diskMagic), int64(0))
	f.Add([]byte(strings.Repeat("\xff", 100)), int64(-1))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		size = max(0, size)
		h, err := readHead(bytes.NewReader(b), size, make([]byte, diskBlock))
		if err != nil {
			if !errors.Is(err, errBroken) {
				t.Errorf("readHead: %v", err)
			}
			return
		}
		if h.at+h.length != size || h.at%diskBlock != 0 || h.at < diskFixed {
			t.Errorf("readHead of a file of %d: %+v", size, h)
		}
		if again := h.append(nil); !bytes.HasPrefix(b, again) {
			t.Errorf("readHead(%q) = %+v, which is %q", b, h, again)
		}
		if m, err := decodeMeta(h.meta); err == nil {
			if _, err := encodeMeta(m); err != nil && len(h.meta) < diskMeta/4 {
				t.Errorf("encodeMeta(%+v): %v", m, err)
			}
		}
	})
}

func FuzzDiskMeta(f *testing.F) {
	b, _ := encodeMeta(diskMetaOf(1))
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMeta(b)
		if err != nil {
			return
		}
		again, err := encodeMeta(m)
		if err != nil {
			return // too long, or a year that JSON does not know
		}
		if got, err := decodeMeta(again); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("decodeMeta(%q) = %+v, which becomes %+v, %v", b, m, got, err)
		}
	})
}
