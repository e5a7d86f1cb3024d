package cluster

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func fullIdentity() Identity {
	return Identity{
		Name: "origin-1.example.net", ID: newID("origin-1.example.net"), Epoch: 1_790_000_000_000, Role: Origin,
		Modes:    []string{"splitter", "cache", "passthrough"},
		Services: []Service{{"rtsp", "", 554}, {"rtsps", "", 322}, {"http", "10.0.0.9", 8888}, {"https", "media.example.net", 443}},
		Weight:   200, Capacity: 5000, Paths: []string{"/vod/", "/live/"},
	}
}

func TestIdentityWire(t *testing.T) {
	f := func(i Identity) {
		t.Helper()
		b, err := i.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeIdentity(b)
		if err != nil || !reflect.DeepEqual(got, i) {
			t.Errorf("decodeIdentity = %+v, %v, want %+v", got, err, i)
		}
	}
	f(fullIdentity())
	f(Identity{Name: "e", ID: newID("e"), Epoch: 1, Role: Edge, Weight: 1})
	f(Identity{Name: "x", ID: newID("x"), Role: Other, Weight: 1})

	// Tags, roles and protocols of later versions are skipped.
	i := fullIdentity()
	b, _ := i.encode()
	b = append(b, 77, 3, 'n', 'e', 'w', tagService, 3, 99, 0, 1, 0, 0)
	got, err := decodeIdentity(b)
	if err != nil || !reflect.DeepEqual(got, i) {
		t.Errorf("with unknown fields: %+v, %v", got, err)
	}
	b[3] = 99 // the role
	if got, err := decodeIdentity(b); err != nil || got.Role != Other {
		t.Errorf("of another role: %v, %v", got.Role, err)
	}
}

func TestIdentityRefused(t *testing.T) {
	f := func(change func(*Identity)) {
		t.Helper()
		i := fullIdentity()
		change(&i)
		if b, err := i.encode(); err == nil {
			t.Errorf("%+v is encoded, in %d bytes", i, len(b))
		}
	}
	f(func(i *Identity) { i.Name = "" })
	f(func(i *Identity) { i.Name = "a b" })
	f(func(i *Identity) { i.Name = strings.Repeat("a", maxName+1) })
	f(func(i *Identity) { i.Weight = 1 << 16 })
	f(func(i *Identity) { i.Capacity = -1 })
	f(func(i *Identity) { i.Modes = []string{""} })
	f(func(i *Identity) { i.Services = []Service{{"ftp", "", 21}} })
	f(func(i *Identity) { i.Services = []Service{{"rtsp", "", 0}} })
	f(func(i *Identity) { i.Services = []Service{{"rtsp", "a/b", 1}} })
	f(func(i *Identity) { i.Paths = []string{"vod"} })
	f(func(i *Identity) { i.Paths = []string{"/" + strings.Repeat("long", 40)} }) // 220 bytes in all

	wire := func(what string, b []byte) {
		t.Helper()
		if i, err := decodeIdentity(b); err == nil {
			t.Errorf("%s: taken as %+v", what, i)
		}
	}
	i := fullIdentity()
	b, _ := i.encode()
	for n := range b {
		if got, err := decodeIdentity(b[:n]); err == nil && reflect.DeepEqual(got, i) {
			t.Errorf("the first %d of %d bytes are all", n, len(b))
		}
	}
	wire("nothing", nil)
	wire("another version", append([]byte{2}, b[1:]...))
	wire("a name twice", append(b[:len(b):len(b)], tagName, 1, 'x'))
	wire("an ID that is too short", append(b[:len(b):len(b)], tagID, 1, 'x'))
	wire("without all", []byte{identityVersion})
	wire("a bad name", []byte{identityVersion, tagRole, 1, 1, tagName, 1, '\n'})
	wire("of the longest field only", append([]byte{identityVersion, 77, 255}, make([]byte, 255)...))
	wire("far too long", append(b, make([]byte, 512)...))
}

func TestNodeAddr(t *testing.T) {
	n := Node{Identity: fullIdentity(), Gossip: netip.MustParseAddrPort("[2001:db8::7]:7946")}
	f := func(proto, want string) {
		t.Helper()
		got, ok := n.Addr(proto)
		if got != want || ok != (want != "") {
			t.Errorf("Addr(%s) = %q, %v, want %q", proto, got, ok, want)
		}
	}
	f("rtsp", "[2001:db8::7]:554")
	f("http", "10.0.0.9:8888")
	f("https", "media.example.net:443")
	f("srt", "")
}

// What is decoded can be encoded again and means the same, and nothing panics.
func FuzzIdentity(f *testing.F) {
	i := fullIdentity()
	b, _ := i.encode()
	f.Add(b)
	f.Add([]byte{identityVersion, tagRole, 1, 1})
	f.Add(append([]byte{identityVersion, 77, 255}, make([]byte, 255)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := decodeIdentity(b)
		if err != nil {
			return
		}
		again, err := i.encode()
		if err != nil {
			if len(b) <= maxIdentity && i.validate() != nil {
				t.Errorf("taken, but not valid: %+v", i)
			}
			return
		}
		if got, err := decodeIdentity(again); err != nil || !reflect.DeepEqual(got, i) {
			t.Errorf("%+v became %+v, %v", i, got, err)
		}
	})
}
