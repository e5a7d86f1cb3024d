package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// cacheRival prepares another cache to stand in front of an origin's URL. A server
// that is not installed skips the test.
func cacheRival(t testing.TB, name, addr, origin string, flags []string) *exec.Cmd {
	t.Helper()
	switch name {
	case "nginx":
		return nginxCache(t, addr, nginxOptions{origin: origin, dir: cacheFlag(flags, "-cache.dir", t.TempDir()), noPush: "on"})
	case "varnish":
		return varnishCache(t, addr, origin)
	}
	t.Fatalf("-cache %s: must be weir, nginx or varnish", name)
	return nil
}

type nginxOptions struct {
	origin string // its URL
	dir    string // of the cache
	// noPush is tcp_nopush: "on" is what Debian's configuration says. On a loopback it
	// makes small answers a fifth cheaper and those of 200 KB dearer by two thirds
	// (measured November 2026, nginx 1.22).
	noPush string
}

// nginxCache is nginx as its users set it up for media, with what makes it quick:
// sendfile, known files, connections that stay. One process alone costs no more for a
// request than one of several workers (11 and 12 µs at 2 KB), and can be killed.
func nginxCache(t testing.TB, addr string, o nginxOptions) *exec.Cmd {
	t.Helper()
	program := cacheProgram(t, "nginx", "nginx")
	run := t.TempDir()
	config := filepath.Join(run, "nginx.conf")
	text := fmt.Sprintf(`daemon off;
master_process off;
user root;
pid %[1]s/pid;
error_log stderr error;
events { worker_connections 4096; }
http {
	access_log off;
	sendfile on;
	tcp_nopush %[5]s;
	keepalive_timeout 60s;
	keepalive_requests 100000000;
	open_file_cache max=10000 inactive=60s;
	open_file_cache_valid 60s;
	default_type application/octet-stream;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	proxy_cache_path %[2]s levels=1:2 keys_zone=media:32m max_size=20g inactive=1d use_temp_path=off;
	server {
		listen %[3]s backlog=4096;
		location / {
			proxy_pass %[4]s;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_cache media;
			proxy_cache_lock on;
		}
	}
}
`, run, o.dir, addr, o.origin, o.noPush)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return exec.Command(program, "-p", run, "-c", config)
}

// varnishCache is Varnish with its default rules. Its manager ends the process that
// serves when it ends itself.
func varnishCache(t testing.TB, addr, origin string) *exec.Cmd {
	t.Helper()
	program := cacheProgram(t, "varnishd", "varnish")
	cacheProgram(t, "gcc", "gcc") // it compiles its rules
	return exec.Command(program, "-F", "-n", t.TempDir(), "-j", "none", "-a", addr, "-b", strings.TrimPrefix(origin, "http://"),
		"-s", "malloc,512m", "-T", "none")
}

// cacheProgram finds a program, or skips the test.
func cacheProgram(t testing.TB, name, debian string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	t.Skipf("%s is not installed (Debian: apt-get install %s)", name, debian)
	return ""
}
