package passthrough

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	maxPlaylist = 4 << 20          // bytes; a day of 6 s segments is 1 MB
	staleAfter  = 30 * time.Second // at least: encoders hiccup
)

// request asks for the probe's path. The connection is for this one question.
func (p *Probe) request(c net.Conn, t Target) (*http.Response, error) {
	req := &http.Request{Method: http.MethodGet, URL: p.url(t), Host: t.URL.Host, Header: http.Header{"User-Agent": {"Weir"}}, Close: true}
	if user := t.URL.User; user != nil {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
	}
	maps.Copy(req.Header, t.Header)
	if host := t.Header.Get("Host"); host != "" {
		req.Host = host
	}
	if err := req.Write(c); err != nil {
		return nil, err
	}
	br := bufio.NewReader(c)
	for {
		res, err := http.ReadResponse(br, req)
		if err != nil || res.StatusCode >= 200 || res.StatusCode == http.StatusSwitchingProtocols {
			return res, err
		}
	}
}

func (p *Probe) get(c net.Conn, t Target) error {
	res, err := p.request(c, t)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode < p.Low || res.StatusCode > p.High {
		return fmt.Errorf("answer %s", res.Status)
	}
	return nil
}

func (p *Probe) playlist(c net.Conn, t Target, now time.Time) error {
	res, err := p.request(c, t)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("answer %s", res.Status)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxPlaylist))
	if err != nil {
		return err
	}
	pl, err := parsePlaylist(string(text))
	if err != nil {
		return err
	}
	return p.seen.advance(pl, now)
}

// A mediaPlaylist is what a probe wants to know of one (RFC 8216).
type mediaPlaylist struct {
	sequence, last string // of the first segment; URI of the last segment or part
	target         time.Duration
	ended          bool
}

func parsePlaylist(text string) (pl mediaPlaylist, err error) {
	if !strings.HasPrefix(strings.TrimPrefix(text, "\ufeff"), "#EXTM3U") {
		return pl, errors.New("not a playlist")
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		tag, value, _ := strings.Cut(line, ":")
		switch {
		case tag == "#EXT-X-STREAM-INF":
			return pl, errors.New("a list of variants never advances: probe one of them")
		case tag == "#EXT-X-MEDIA-SEQUENCE":
			pl.sequence = value
		case tag == "#EXT-X-TARGETDURATION":
			n, _ := strconv.Atoi(value) // 0 leaves the least
			pl.target = time.Duration(min(n, 3600)) * time.Second
		case tag == "#EXT-X-ENDLIST":
			pl.ended = true
		case tag == "#EXT-X-PART" || line != "" && line[0] != '#':
			pl.last = line
		}
	}
	return pl, nil
}

// A playlistMark is where a playlist was, and since when.
type playlistMark struct {
	sequence, last string
	since          time.Time
}

func (m *playlistMark) advance(pl mediaPlaylist, now time.Time) error {
	if pl.ended {
		return nil
	}
	if m.since.IsZero() || m.sequence != pl.sequence || m.last != pl.last {
		*m = playlistMark{pl.sequence, pl.last, now}
		return nil
	}
	if stuck := now.Sub(m.since); stuck > max(3*pl.target, staleAfter) {
		return fmt.Errorf("the playlist has not advanced for %v", stuck.Round(time.Second))
	}
	return nil
}
