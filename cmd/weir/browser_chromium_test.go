package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"weir/proxy/proxytest"
)

// needBrowser skips a test where Chromium or the players of pages are missing. In
// CI a missing Chromium is a failure; the players come from npm, which there need
// not be.
func needBrowser(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("chromium"); err != nil {
		const missing = "chromium is not installed (Debian: apt-get install chromium)"
		if os.Getenv("CI") != "" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	for _, name := range []string{"hls.min.js", "dash.all.min.js"} {
		if _, err := os.Stat(filepath.Join(players, name)); err != nil {
			t.Skip(name + " is not in build/players (make deps fetches it with npm)")
		}
	}
}

// browse shows a page in Chromium until the test ends.
func browse(t *testing.T, url string) {
	t.Helper()
	profile, err := os.MkdirTemp("", "weir-chromium-") // t.TempDir would not wait for it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Its helpers may still write for a moment.
		proxytest.Eventually(t, 5*time.Second, "remove "+profile, func() bool { return os.RemoveAll(profile) == nil })
	})
	args := []string{"--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--mute-audio",
		"--autoplay-policy=no-user-gesture-required", "--window-size=1024,700", "--user-data-dir=" + profile}
	if os.Getuid() == 0 {
		args = append(args, "--no-sandbox") // root has none
	}
	spawnProgram(t, profile, "chromium", append(args, url)...)
}

// spawnProgram runs a program in a folder until the test ends, and ends it and
// what it has started after two minutes in any case.
func spawnProgram(t *testing.T, dir, program string, args ...string) {
	t.Helper()
	bound := strconv.Itoa(int((2 * time.Minute).Seconds()))
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "timeout", append([]string{"--kill-after=5", bound, program}, args...)...)
	cmd.Dir = dir
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // handed on to all
	cmd.WaitDelay = 10 * time.Second
	said, err := os.Create(filepath.Join(t.TempDir(), "said"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		cmd.Wait() //nolint:errcheck // it was killed
		said.Close()
		if b, err := os.ReadFile(said.Name()); err == nil && t.Failed() {
			t.Logf("%s said: %s", program, tail(string(b)))
		}
	})
}
