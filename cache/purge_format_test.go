package cache

import (
	"reflect"
	"slices"
	"testing"
)

func TestPurgeGarbage(t *testing.T) {
	good := encodePurges(7, []numbered{{purge: purge{URL: "/ab"}, number: 9}, {purge: purge{URL: "/ac"}, number: 4}})
	if _, got, ok := decodePurges(good); !ok || len(got) != 2 || got[1].URL != "/ac" || got[1].number != 4 {
		t.Fatalf("%q is read as %v %v", good, got, ok)
	}
	f := func(b []byte) {
		t.Helper()
		if _, got, ok := decodePurges(b); ok {
			t.Errorf("%q is read as %v", b, got)
		}
	}
	head := good[:9]
	with := func(b ...byte) []byte { return append(slices.Clone(head), b...) }
	f(nil)
	f(good[:8])
	f(append([]byte{2}, good[1:]...))                     // another version
	f(good[:len(good)-1])                                 // cut off
	f(append(slices.Clone(good), 1))                      // more behind it
	f(with(0, kindURL, 0, 1, '/'))                        // no number
	f(with(1, kindURL, 0, 1, '/', 1, kindURL, 0, 1, '/')) // not falling
	f(with(1, 3, 0, 1, '/'))                              // no such kind
	f(with(1, 8, 0, 1, '/'))
	f(with(1, kindURL, 0, 1, 'a')) // no path
	f(with(1, kindPrefix, 0, 0))
	f(with(1, kindTag, 0, 0))
	f(with(1, kindURL, 1, 1, '/'))                                                  // shares what is not there
	f(with(1, kindURL, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1)) // endless
	f(with(append([]byte{1, kindTag, 0, 0x91, 3}, make([]byte, 401)...)...))        // too long
	f(make([]byte, 1001))
}

func FuzzDecodePurges(f *testing.F) {
	f.Add(encodePurges(1, []numbered{{purge: purge{URL: "/live/a.m3u8?x=1"}, number: 300}, {purge: purge{Prefix: "/live/", Soft: true}, number: 2}, {purge: purge{Tag: "t"}, number: 1}}))
	f.Add([]byte{purgeVersion, 0, 0, 0, 0, 0, 0, 0, 0, 1, kindURL, 0, 1, '/'})
	f.Fuzz(func(t *testing.T, b []byte) {
		epoch, purges, ok := decodePurges(b)
		if !ok {
			return
		}
		again, same, ok := decodePurges(encodePurges(epoch, purges))
		if !ok || again != epoch || !reflect.DeepEqual(same, purges) {
			t.Fatalf("%q: %v, then %v %v", b, purges, same, ok)
		}
		for _, p := range purges {
			if kind, text := p.packed(); text == "" || kind&^kindSoft > kindTag {
				t.Fatalf("%q: %+v", b, p)
			}
		}
	})
}
