package admission

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestUsersGrants(t *testing.T) {
	hash := strings.TrimPrefix(bcryptLine(t, "x", "x"), "x:")
	f := func(options string, want grant) {
		t.Helper()
		l, err := parseUsers([]byte("# of us\r\n\r\nann:"+hash+options+"\r\n"), "Weir", nil, newHashing(nil))
		if err != nil {
			t.Errorf("%q: %v", options, err)
			return
		}
		if want.subject = "ann"; !reflect.DeepEqual(*l.byName["ann"].grant, want) {
			t.Errorf("%q: %+v, want %+v", options, *l.byName["ann"].grant, want)
		}
	}
	f("", grant{})
	f(" \t ", grant{})
	f(" class=gold\tmax=2", grant{class: "gold", max: 2})
	f("  path=/live  path=/vod/", grant{scope: under{"/live", "/vod"}})
	f(" path=/", grant{scope: under{"/"}})
	f(" path=//a/./b%20c", grant{scope: under{"/a/b c"}})
}

// TestUsersMistakes: each is named with its line and what to do, and nothing of
// the line is repeated.
func TestUsersMistakes(t *testing.T) {
	hash := strings.TrimPrefix(bcryptLine(t, "x", "x"), "x:")
	ha1 := md5Hex("swordfish")
	f := func(line, want string) {
		t.Helper()
		_, err := parseUsers([]byte("# one\n\n"+htdigestLine("eve", "x")+"\n"+line), "Weir", Classes{{"gold", 100}}, newHashing(nil))
		if err == nil || !strings.HasPrefix(err.Error(), "line 4: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want line 4 and %q", line, err, want)
			return
		}
		for _, secret := range []string{"swordfish", ha1, hash[7:], "rqXexS6ZhobKA", "c2FsdHNhbHQ"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%q: %v", line, err)
			}
		}
	}
	f("swordfish", "is not a name, a colon and a hash")
	f(":"+hash, "is not a name")
	f("ann:swordfish", "no hash that is known: use htpasswd -B (bcrypt), argon2id or htdigest")
	f("ann:", "use htpasswd -B")
	f("ann: "+hash, "use htpasswd -B")
	f("ann:sword:fish", "use htpasswd -B")
	f("ann:rqXexS6ZhobKA", "use htpasswd -B")
	f("ann:$apr1$swordfish$swordfish", "MD5: use htpasswd -B")
	f("ann:{SHA}swordfish=", "SHA1: use htpasswd -B")
	f("ann:$6$salt$swordfish", "crypt: use htpasswd -B")
	f("ann:$5$salt$swordfish", "crypt: use htpasswd -B")
	f("ann:$2x"+hash[3:], "no hash that is known")
	f("ann:$argon2i$v=19$m=64,t=2,p=2$c2FsdHNhbHQ$swordfish", "argon2id")
	f("ann:Lake:"+ha1, `for another realm than "Weir": see -admission.realm`)
	f("ann:A B:"+ha1+" max=2", `for another realm than "Weir"`)
	f("ann:Weir:swordfish", "no 32 hexadecimal digits behind the realm")
	f("ann:Weir:"+ha1[1:], "no 32 hexadecimal digits")
	f("ann:Weir:"+ha1[:31]+"g", "no 32 hexadecimal digits")
	f("ann:"+hash[:59], "bcrypt of another form")
	f("ann:"+hash+"x", "bcrypt of another form")
	f("ann:"+hash[:20]+"!"+hash[21:], "bcrypt of another form")
	f("ann:$2y$16"+hash[6:], "cost that is not from 4 to 15")
	f("ann:$2y$03"+hash[6:], "cost that is not from 4 to 15")
	f("ann:$2y$x4"+hash[6:], "cost that is not from 4 to 15")
	f("eve:"+hash, "there twice")
	f("a\x00n:"+hash, "no text")
	f("a\xffn:"+hash, "no text")
	f(strings.Repeat("n", 256)+":"+hash, "more than 255 bytes")
	f("ann:"+hash+" swordfish", "option 1 behind the hash is none of class=, max= and path=")
	f("ann:"+hash+" max=2 "+hash, "option 2 behind the hash is none")
	f("ann:"+hash+" Path=/a", "is none of")
	f("ann:"+hash+" max=0", "a number from 1")
	f("ann:"+hash+" max=two", "a number from 1")
	f("ann:"+hash+" max=2 max=3", "the only max=")
	f("ann:"+hash+" class=", "has no name")
	f("ann:"+hash+" class=gold class=gold", "the only class=")
	f("ann:"+hash+" class=glod", "a class that -admission.class has not")
	for _, path := range []string{"", "live", "/a/../b", "/%2e%2e", "/a%2fb", `/a\b`, "/%00", "/%zz", "/\xc0\xae"} {
		f("ann:"+hash+" path="+path, "is not a path like /live")
	}
	argon := func(of, want string) { t.Helper(); f("ann:$argon2id$"+of, want) }
	argon("m=64,t=2,p=2$c2FsdHNhbHQ$c3dvcmRmaXNoc3dvcmRmaXNo", "of another form")
	argon("v=16$m=64,t=2,p=2$c2FsdHNhbHQ$c3dvcmRmaXNoc3dvcmRmaXNo", "of another form")
	argon("v=19$m=64,t=2$c2FsdHNhbHQ$c3dvcmRmaXNoc3dvcmRmaXNo", "other than m, t and p")
	for _, p := range []string{"m=262145,t=2,p=2", "m=64,t=17,p=2", "m=640,t=2,p=17", "m=15,t=2,p=2", "m=64,t=0,p=2", "m=64,t=2,p=0",
		"t=2,m=64,p=2", "m=64,t=2,p=2x", "m=+64,t=2,p=2", "m=99999999999,t=2,p=2", "m=64,t=-2,p=2"} {
		argon("v=19$"+p+"$c2FsdHNhbHQ$c3dvcmRmaXNoc3dvcmRmaXNo", "other than m up to 262144")
	}
	for _, s := range []string{"c2FsdA$c3dvcmRmaXNoc3dvcmRmaXNo", "c2FsdHNhbHQ$c3dvcmQ", "c2FsdHNhbHQ=$c3dvcmRmaXNoc3dvcmRmaXNo", "$c3dvcmRmaXNoc3dvcmRmaXNo"} {
		argon("v=19$m=64,t=2,p=2$"+s, "in base64 without =")
	}
	for _, text := range []string{"", "# nobody\n", "\n\n"} {
		if _, err := parseUsers([]byte(text), "Weir", nil, newHashing(nil)); err == nil || err.Error() != "there is nobody in it" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestUsersRealm: realms may have blanks and colons, as long as they are ours.
func TestUsersRealm(t *testing.T) {
	for _, realm := range []string{"", "A B", "a:b", "$2y$"} {
		l, err := parseUsers([]byte("ann:"+realm+":"+md5Hex("ann:"+realm+":x")+" max=1"), realm, nil, newHashing(nil))
		if err != nil || l.byName["ann"].ha1 == "" || l.byName["ann"].grant.max != 1 {
			t.Errorf("%q: %v", realm, err)
		}
	}
}

// TestUsersStrangersKinds: there is a hash for each user, the cheap ones first.
func TestUsersStrangersKinds(t *testing.T) {
	f := func(want string, lines ...string) {
		t.Helper()
		var kinds []string
		for _, h := range usersOf(t, lines...).file.get().strangers {
			kinds = append(kinds, strings.TrimPrefix(fmt.Sprintf("%T", h.(nobodys).passwordHash), "*"))
		}
		if got := strings.Join(kinds, " "); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	digest, bcrypt := htdigestLine("dee", "x"), bcryptLine(t, "bea", "x")
	f("admission.digestHash", digest)
	f("admission.digestHash admission.bcryptHash", bcrypt, digest)
	f("admission.digestHash admission.argonHash admission.bcryptHash", bcrypt, argonLine("ada", "x"), digest)
	f("admission.digestHash admission.bcryptHash admission.argonHash", "big:$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$c3dvcmRmaXNoc3dvcmRmaXNo", digest, bcrypt)
}

func FuzzUsersFile(f *testing.F) {
	f.Add("ann:Weir:0123456789abcdef0123456789abcdef class=gold max=2 path=/live\n")
	f.Add("# x\n\nbob:$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\tpath=/a%20b")
	f.Add(argonLine("ada", "x") + "\r\n")
	f.Add("ann:Lake:0123456789abcdef0123456789abcdef")
	turns := newHashing(nil)
	f.Fuzz(func(t *testing.T, text string) {
		l, err := parseUsers([]byte(text), "Weir", nil, turns)
		if err != nil {
			return
		}
		for name, u := range l.byName {
			if name == "" || name != u.grant.subject || u.hash == nil || u.ha1 != "" && len(u.ha1) != 32 || u.grant.max < 0 {
				t.Errorf("%q: %q is %+v", text, name, u)
			}
			paths, _ := u.grant.scope.(under)
			for _, p := range paths {
				if !strings.HasPrefix(p, "/") || strings.Contains(p, "..") && strings.Contains("/"+p+"/", "/../") {
					t.Errorf("%q: path %q", text, p)
				}
			}
			u.hash.cost()
		}
	})
}
