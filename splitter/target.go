package splitter

import (
	"strconv"
	"strings"

	"weir/proxy"
	"weir/proxy/sdp"
	"weir/proxy/wire"
)

// absolute reports whether a request names what it wants in full (RFC 2326 §3.2).
func absolute(req *wire.Request) bool {
	u, err := req.Target()
	return err == nil && (u.Scheme == "rtsp" || u.Scheme == "rtsps") && u.Host != "" && !strings.Contains(req.URL, "#")
}

// trackOf is the track that a URL names, at the end of its path or behind the query,
// where ffmpeg puts it.
func trackOf(req *wire.Request) (track int, named bool, err error) {
	u, err := req.Target()
	if err != nil {
		return 0, false, &proxy.Refusal{Reason: proxy.BadRequest, Err: errURL} // err quotes it
	}
	where := u.EscapedPath()
	if strings.Contains(u.RawQuery, "/trackID=") {
		where = u.RawQuery
	}
	_, track, named = sdp.SplitTrack(where)
	if !named && strings.Contains(where, "/trackID=") {
		return 0, false, &proxy.Refusal{Reason: proxy.NotFound}
	}
	return track, named, nil
}

// onlyTrack is the one track that the feed has for viewers: a SETUP need not name it.
// Where there are several they are not set up as one (RFC 2326 §11.3.9).
func (f *feed) onlyTrack() (only int, err error) {
	found := false
	for i, m := range f.sdp.Media {
		if m.BackChannel {
			continue
		}
		if found {
			return 0, &proxy.Refusal{Reason: proxy.NotAggregate}
		}
		only, found = i, true
	}
	return only, nil
}

// bare is a URL without credentials and query: a query may hold a token, and neither
// is said again.
func bare(url string) string {
	url, _, _ = strings.Cut(url, "?")
	scheme, rest, _ := strings.Cut(url, "://")
	host, path, _ := strings.Cut(rest, "/")
	return scheme + "://" + host[strings.LastIndexByte(host, '@')+1:] + "/" + path
}

// contentBase is what tracks are relative to.
func contentBase(url string) string { return strings.TrimRight(bare(url), "/") + "/" }

// trackURL is the URL of a SETUP as RTP-Info names the track: as it came, or in full
// where the name stood behind the query.
func trackURL(url string, track int) string {
	if _, query, _ := strings.Cut(url, "?"); strings.Contains(query, "/trackID=") {
		return contentBase(url) + "trackID=" + strconv.Itoa(track)
	}
	return bare(url)
}

// sessionID is what a request's Session field names (RFC 2326 §12.37), "" for nothing.
func sessionID(req *wire.Request) string {
	id, _, _ := strings.Cut(req.Header.Get("Session"), ";")
	return strings.TrimSpace(id)
}

// joined is all fields of a name as one (RFC 2068 §4.2).
func joined(req *wire.Request, name string) string {
	var all []string
	for _, f := range req.Header {
		if strings.EqualFold(f.Name, name) {
			all = append(all, f.Value)
		}
	}
	return strings.Join(all, ",")
}

// feedURL is what gortsplib takes for the URL of whatever a viewer asks for. It compares the
// paths of a session's requests in its own way; that has been done.
const feedURL = "rtsp://weir/feed"

// forGortsplib is a request as gortsplib may see it: what it needs, and nothing that
// it has not been told how to read. Of the rest some would end the connection, as a
// field of over 2048 bytes does, and a User-Agent that begins with GStreamer holds up
// SETUP for a second (server_session.go:1225).
func (c *conn) forGortsplib() *wire.Request {
	r := &wire.Request{Method: c.request.Method, URL: feedURL}
	r.Header.Add("CSeq", c.request.Header.Get("CSeq"))
	if c.about != nil {
		r.Header.Add("Session", sessionID(c.request))
	}
	if r.Method == "SETUP" {
		r.URL += "/trackID=" + strconv.Itoa(c.track)
		r.Header.Add("Transport", c.offer.String())
	}
	return r
}
