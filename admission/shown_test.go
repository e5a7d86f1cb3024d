package admission

import (
	"encoding/base64"
	"strings"
	"testing"

	"weir/proxy"
)

// shownBasic is what a viewer sends with Basic.
func shownBasic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

var testNames = []string{"token", "jwt"}

func TestShownToken(t *testing.T) {
	f := func(v proxy.Viewer, token string, header bool) {
		t.Helper()
		s, err := look(&v, v.Query, testNames, "weir-token")
		if err != nil || s.token != token || s.header != header {
			t.Errorf("%+v: %q in the header %v, %v, want %q %v", v, s.token, s.header, err, token, header)
		}
	}
	query := func(protocol, q, token string) {
		t.Helper()
		f(proxy.Viewer{Protocol: protocol, Query: q}, token, false)
	}
	query("http", "token=x.y", "x.y")
	query("http", "jwt=x.y.z", "x.y.z")
	query("http", "a=1&token=x.y&b=2", "x.y")
	query("http", "token=&jwt=x", "x") // one without a value is none
	query("http", "token=x%2Ey", "x.y")
	query("http", "token=x%zz", "x%zz")
	query("http", "token=x/y", "x/y")
	query("http", "token", "")
	query("http", "", "")
	query("http", "TOKEN=x", "")
	query("http", "%74oken=x", "") // nor is it taken out
	query("http", "mytoken=x&tokens=y", "")
	query("http", "a=token=x", "")
	query("rtsp", "token=x.y/trackID=0", "x.y")
	query("rtsp", "token=x.y/", "x.y")
	query("rtsp", "a=1&token=x.y/trackID=0", "x.y")
	query("rtsp", "token=/trackID=0", "")

	signed := signedToken(t, Claim{Path: "/a"})
	header := func(h, token string) {
		t.Helper()
		f(proxy.Viewer{Protocol: "http", Authorization: h}, token, token != "")
	}
	header("Bearer x.y.z", "x.y.z")
	header("bearer   x.y.z ", "x.y.z")
	header("Bearer", "")
	header("Bearer ", "")
	header(shownBasic("bob", "secret"), "")
	header(shownBasic("bob", "three.dotted.words"), "")
	header(shownBasic("bob", signed), signed)
	header(shownBasic(signed, ""), signed)
	header(shownBasic("", "eyJhbGciOiJFUzI1NiJ9.e30.c2ln"), "eyJhbGciOiJFUzI1NiJ9.e30.c2ln")
	header(shownBasic(signed, "eyJhbGciOiJFUzI1NiJ9.e30.c2ln"), "eyJhbGciOiJFUzI1NiJ9.e30.c2ln")
	header("Basic !", "")
	header("Negotiate "+strings.Repeat("x", 20000), "")

	cookie := func(c, q, token string) {
		t.Helper()
		f(proxy.Viewer{Protocol: "http", Cookie: c, Query: q}, token, false)
	}
	cookie("weir-token=x.y", "", "x.y")
	cookie(`a=1;weir-token="x.y" ; b=2`, "", "x.y")
	cookie("weir-token=x; weir-token=y", "", "x")
	cookie("weir-token", "", "")
	cookie("xweir-token=x", "", "")
	cookie("weir-token=x", "token=y", "y")
	cookie("weir-token=x", "token=", "x")
	f(proxy.Viewer{Protocol: "http", Cookie: "weir-token=x", Authorization: "Bearer y"}, "y", true)
	f(proxy.Viewer{Protocol: "http", Cookie: "weir-token=x", Authorization: shownBasic("bob", "secret")}, "x", false)
}

func TestShownBasic(t *testing.T) {
	f := func(header, user, password string, basic, digest bool) {
		t.Helper()
		s, err := look(&proxy.Viewer{Authorization: header}, "", testNames, "")
		if err != nil || s.user != user || s.password != password || s.basic != basic || s.digest != digest {
			t.Errorf("%.60s: %+v %v", header, s, err)
		}
	}
	f(shownBasic("bob", "a:b"), "bob", "a:b", true, false)
	f("bAsIc  "+shownBasic("bob", "x")[6:], "bob", "x", true, false)
	f(shownBasic("", ""), "", "", true, false)
	f("Basic Ym9i", "", "", false, false) // bob, and no colon
	f("Basic", "", "", false, false)
	f(shownBasic("bob", strings.Repeat("x", 4097)), "", "", false, false)
	f(`Digest username="bob"`, "", "", false, true)
	f(`Digest `+strings.Repeat("x", 8192), "", "", false, false)
	f("", "", "", false, false)
}

func TestShownRefusals(t *testing.T) {
	signed := signedToken(t, Claim{Path: "/a"})
	f := func(query, authorization string, want proxy.Reason) {
		t.Helper()
		_, err := look(&proxy.Viewer{Protocol: "http", Query: query, Authorization: authorization}, query, testNames, "c")
		if refusedFor(err) != want {
			t.Errorf("%.60s %.60s: %v, want %q", query, authorization, err, want)
		}
	}
	long := strings.Repeat("x", maxToken)
	f("token=x&token=y", "", proxy.BadRequest)
	f("token=x&token=x", "", proxy.BadRequest)
	f("token=x&a=b&jwt=y", "", proxy.BadRequest)
	f("token=x", "Bearer y", proxy.BadRequest)
	f("token=x", "Bearer x", proxy.BadRequest)
	f("token=x", shownBasic("bob", signed), proxy.BadRequest)
	f("token=x", shownBasic("bob", "secret"), "")
	f("token=x", "Bearer ", "")
	f("token="+long, "", "")
	f("token=x"+long, "", proxy.Unauthorized)
	f("", "Bearer "+long, "")
	f("", "Bearer x"+long, proxy.Unauthorized)
	f("token=x%0d%0aSet-Cookie:y", "", proxy.Unauthorized)
	f("token=x+y", "", proxy.Unauthorized)
	f("token=%c3%a9", "", proxy.Unauthorized)
}

// Once the query has been stripped, no token is left in it.
func FuzzLook(f *testing.F) {
	f.Add("a=1&token=x.y&b", shownBasic("bob", "secret"), "weir-token=x", true)
	f.Add("token=x/trackID=0", "Bearer x", "", true)
	f.Add(" token=%20&& =&jwt", "Basic Og==", ";;=; weir-token", false)
	taken := &proxy.Taken{Parameters: testNames, Cookie: "weir-token"}
	f.Fuzz(func(t *testing.T, query, authorization, cookie string, rtsp bool) {
		v := &proxy.Viewer{Protocol: "http", Authorization: authorization, Cookie: cookie}
		if rtsp {
			v.Protocol = "rtsp"
		}
		s, err := look(v, query, testNames, "weir-token")
		if err != nil && refusedFor(err) == "" {
			t.Errorf("%v is no refusal", err)
		}
		if err == nil && (len(s.token) > maxToken || strings.ContainsAny(s.token, "\r\n ") || len(s.password) > maxToken || len(s.user) > maxToken) {
			t.Errorf("%q %q %q: %+v", query, authorization, cookie, s)
		}
		v.Authorization, v.Cookie = "", taken.StripCookie(cookie)
		if s, err := look(v, taken.Strip(query), testNames, "weir-token"); err != nil || s.token != "" {
			t.Errorf("%q %q: %q %v is left", query, cookie, s.token, err)
		}
	})
}
