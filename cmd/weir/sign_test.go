package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// runSign runs the command with a file of two keys, and returns what it prints.
func runSign(t *testing.T, args ...string) (string, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "keys")
	keys := "k1 " + strings.Repeat("x", 32) + "\nk2 " + strings.Repeat("y", 32) + "\n"
	must(t, os.WriteFile(name, []byte(keys), 0o600))
	var out bytes.Buffer
	err := signCommand(t.Context(), invocation{args: append([]string{"-keys", name}, args...), stdout: &out, stderr: io.Discard})
	return strings.TrimSuffix(out.String(), "\n"), err
}

// claimed are the lines of a token's payload.
func claimed(t *testing.T, token string) []string {
	t.Helper()
	payload, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(payload)
	must(t, err)
	return strings.Split(string(text), "\n")
}

func TestSignCommand(t *testing.T) {
	f := func(args, key, path, from, class, max, subject string, length time.Duration) {
		t.Helper()
		began := time.Now()
		token, err := runSign(t, strings.Split(args, " ")...)
		if err != nil {
			t.Fatalf("%s: %v", args, err)
		}
		c := claimed(t, token)
		got, want := strings.Join([]string{c[1], c[3], c[4], c[5], c[6], c[7]}, "|"), strings.Join([]string{key, path, from, class, max, subject}, "|")
		if got != want {
			t.Errorf("%s: claims %s, want %s", args, got, want)
		}
		until, err := strconv.ParseInt(c[2], 10, 64)
		if at := began.Add(length).Unix(); err != nil || until < at || until > time.Now().Add(length).Unix() {
			t.Errorf("%s: until %d, want %d: %v", args, until, at, err)
		}
	}
	f("-path /vod/film", "k1", "/vod/film", "", "", "0", "", 6*time.Hour)
	f("-path / -for 90s -key k2", "k2", "/", "", "", "0", "", 90*time.Second)
	f("-path /cam -addr 10.1.2.3/8 -class gold -max 2 -subject bob", "k1", "/cam", "10.0.0.0/8", "gold", "2", "bob", 6*time.Hour)
	f("-path /cam -addr 2001:db8::1", "k1", "/cam", "2001:db8::1/128", "", "0", "", 6*time.Hour)
}

func TestSignCommandURL(t *testing.T) {
	f := func(path, in, want string) {
		t.Helper()
		got, err := runSign(t, "-path", path, "-url", in)
		u, parseErr := url.Parse(got)
		if err != nil || parseErr != nil {
			t.Fatalf("%s: %v %v", in, err, parseErr)
		}
		token := u.Query().Get("token")
		if got != strings.Replace(want, "TOKEN", token, 1) || claimed(t, token)[3] != path {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	f("/vod/film", "http://edge:8080/vod/film/master.m3u8", "http://edge:8080/vod/film/master.m3u8?token=TOKEN")
	f("/vod/film", "http://edge:8080/vod/film", "http://edge:8080/vod/film?token=TOKEN")
	f("/vod", "http://edge/vod/x?b=2&a=%2F#t=5", "http://edge/vod/x?b=2&a=%2F&token=TOKEN#t=5")
	f("/my film", "http://edge/my%20film/x", "http://edge/my%20film/x?token=TOKEN")
	f("/cam", "rtsp://edge:8554/cam", "rtsp://edge:8554/cam?token=TOKEN")
	f("/", "/cam", "/cam?token=TOKEN")
}

func TestSignCommandErrors(t *testing.T) {
	f := func(want string, usage bool, args ...string) {
		t.Helper()
		got, err := runSign(t, args...)
		if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, errUsage) != usage || got != "" {
			t.Errorf("%q: %q %v, want %s (a mistake in the command line: %v)", args, got, err, want, usage)
		}
	}
	f("say -keys", true, "-path", "/a", "-keys", "")
	f("say -path: what may be watched, with all below it, such as /vod/film", true)
	f("such as /vod/a b", true, "-url", "http://edge/vod/a%20b/x.m3u8")
	f("no such file or directory: a key is a line", false, "-path", "/a", "-keys", filepath.Join(t.TempDir(), "none"))
	f(`no key "k9" in it: it has k1, k2`, false, "-path", "/a", "-key", "k9")
	f(`path "/a/": write it as "/a"`, false, "-path", "/a/")
	f("not acceptable", false, "-path", "/a/../b")
	f("must be at least 1s", true, "-path", "/a", "-for", "-2h")
	f("neither an address nor a prefix", true, "-path", "/a", "-addr", "10.0.0")
	f("viewers at once", false, "-path", "/a", "-max", "-1")
	f("is not below -path /a", true, "-path", "/a", "-url", "http://edge/ab/x")
	f("is not below -path /a", true, "-path", "/a", "-url", "http://edge/")
	f("nodes refuse it", false, "-path", "/a", "-url", "http://edge/a/../b")
	f("has no path", true, "-path", "/a", "-url", "edge:8080/a")
	f("has no path", true, "-path", "/a", "-url", "http://edge")
	f("has a token already", true, "-path", "/a", "-url", "http://edge/a?x=1&token=y")
	f("URLs are given with -url", true, "-path", "/a", "http://edge/a")
	f("not-a-flag", true, "-not-a-flag")
}
