package origintest

import (
	"net/http"
	"testing"
)

// TestOriginsAgreeOnFiles: two origins give the same file the same strong
// validator, so that a download can go on at the other; other files have another.
func TestOriginsAgreeOnFiles(t *testing.T) {
	t.Parallel()
	one, two := run(t, Options{HTTP: "127.0.0.1:0"}), run(t, Options{HTTP: "127.0.0.1:0"})
	tag := func(url string) (etag, kind string) {
		t.Helper()
		res, err := http.Head(url)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.Header.Get("Etag"), res.Header.Get("Content-Type")
	}
	clip, kind := tag(one.HTTPURL() + "/clip.ts")
	if len(clip) != 10 || clip[0] != '"' || kind != "video/mp2t" {
		t.Errorf("clip.ts has ETag %s, type %s", clip, kind)
	}
	if other, _ := tag(two.HTTPURL() + "/clip.ts"); other != clip {
		t.Errorf("ETag %s here, %s there", clip, other)
	}
	if hello, _ := tag(one.HTTPURL() + "/hello.txt"); hello == clip {
		t.Errorf("ETag %s for two files", hello)
	}
	if gone, _ := tag(one.HTTPURL() + "/nothing"); gone != "" {
		t.Errorf("ETag %s for nothing", gone)
	}
}
