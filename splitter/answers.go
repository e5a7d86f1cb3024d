package splitter

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"

	"weir/proxy"
)

// OnResponse implements gortsplib.ServerHandlerOnResponse: it says what
// gortsplib does not know or says wrong.
func (h *signalling) OnResponse(sc *gortsplib.ServerConn, res *base.Response) {
	res.Header["Server"] = base.HeaderValue{serverName}
	c := connOf(sc)
	if c.request == nil || res.StatusCode != base.StatusOK {
		delete(res.Header, "Session") // gortsplib makes one before it asks whether there shall be one
		return
	}
	switch c.request.Method {
	case "OPTIONS":
		res.Header["Public"] = base.HeaderValue{proxy.RTSPMethods}
	case "DESCRIBE":
		res.Header["Content-Base"] = base.HeaderValue{contentBase(c.request.URL)}
	case "SETUP":
		if v := res.Header["Session"]; len(v) == 1 && c.setUp != nil {
			c.s.name(c.setUp, v[0])
		}
		sayTransport(c, res)
	case "PLAY":
		sayPlay(c, res)
	case "TEARDOWN":
		if c.setUp == c.about {
			c.setUp = nil
		}
	}
}

// sayTransport names the SSRC under which the track comes, and the time-out,
// which gortsplib gives over UDP only.
func sayTransport(c *conn, res *base.Response) {
	if v := res.Header["Transport"]; len(v) == 1 {
		t, _, _ := strings.Cut(v[0], ";ssrc=")
		res.Header["Transport"] = base.HeaderValue{fmt.Sprintf("%s;ssrc=%08X", t, c.feed.in.tracks[c.track].num.SSRC)}
	}
	if v := res.Header["Session"]; len(v) == 1 && !strings.Contains(v[0], ";") {
		res.Header["Session"] = base.HeaderValue{v[0] + ";timeout=" + strconv.Itoa(sessionTimeout)}
	}
}

// sayPlay says where and how fast it plays, whatever was asked: live.
func sayPlay(c *conn, res *base.Response) {
	res.Header["Range"] = base.HeaderValue{"npt=now-"}
	res.Header["RTP-Info"] = base.HeaderValue{c.rtpInfo}
	for _, name := range []string{"Scale", "Speed"} { // RFC 2326 §12.34, §12.35
		if c.request.Header.Count(name) > 0 {
			res.Header[name] = base.HeaderValue{"1.0"}
		}
	}
}

// rtpInfo tells the first sequence number of each track and the time stamps that
// belong together (RFC 2326 §12.33). A track that has had no packet yet gets
// none: players drop what is older than they were told.
func rtpInfo(urls []string, tracks []trackOpening) string {
	var info []string
	for i, url := range urls {
		if url == "" {
			continue
		}
		e := "url=" + url
		if tracks[i].known {
			e += fmt.Sprintf(";seq=%d;rtptime=%d", tracks[i].seq, tracks[i].ts)
		}
		info = append(info, e)
	}
	return strings.Join(info, ",")
}

func status(code base.StatusCode) *base.Response { return &base.Response{StatusCode: code} }

// refused is the answer to a viewer whom the gate or the feed does not take.
func refused(err error) *base.Response {
	r := proxy.Refused(err).Response(nil)
	res := &base.Response{StatusCode: base.StatusCode(r.Code), StatusMessage: r.Phrase, Header: base.Header{}}
	for _, f := range r.Header {
		res.Header[f.Name] = base.HeaderValue{f.Value}
	}
	return res
}
