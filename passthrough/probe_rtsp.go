package passthrough

import (
	"bufio"
	"fmt"
	"net"
	"strconv"

	"weir/proxy/auth"
	"weir/proxy/sdp"
	"weir/proxy/wire"
)

// An rtspClient asks an RTSP server one question after another.
type rtspClient struct {
	net.Conn
	r    *wire.Reader
	cseq int
}

func newRTSPClient(c net.Conn) *rtspClient {
	return &rtspClient{Conn: c, r: wire.NewReader(bufio.NewReader(c))}
}

func (c *rtspClient) ask(req *wire.Request) (*wire.Response, error) {
	c.cseq++
	h := wire.Header{{Name: "CSeq", Value: strconv.Itoa(c.cseq)}, {Name: "User-Agent", Value: "Weir"}}
	req.Header = append(h, req.Header...)
	if _, err := c.Write(req.Append(nil)); err != nil {
		return nil, err
	}
	for {
		msg, err := c.r.Next()
		if err != nil {
			return nil, err
		}
		if res, ok := msg.(*wire.Response); ok {
			return res, nil
		}
	}
}

// options is content with any answer: many cameras want to know who asks.
func (p *Probe) options(c net.Conn, t Target) error {
	u := *t.URL
	u.User, u.Path, u.RawPath, u.RawQuery = nil, "/", "", ""
	_, err := newRTSPClient(c).ask(&wire.Request{Method: "OPTIONS", URL: u.String()})
	return err
}

func (p *Probe) describe(conn net.Conn, t Target) error {
	who := &auth.Client{}
	if user := t.URL.User; user != nil {
		who.User = user.Username()
		who.Password, _ = user.Password()
	}
	c, uri := newRTSPClient(conn), p.url(t).String()
	res, err := describeAs(c, uri, who)
	if err == nil && res.Code == 401 && who.Learn(res.Header) {
		res, err = describeAs(c, uri, who)
	}
	switch {
	case err != nil:
		return err
	case res.Code != 200:
		return fmt.Errorf("answer %d %.60q", res.Code, res.Phrase)
	}
	_, err = sdp.Parse(res.Body)
	return err
}

func describeAs(c *rtspClient, uri string, who *auth.Client) (*wire.Response, error) {
	req := &wire.Request{Method: "DESCRIBE", URL: uri, Header: wire.Header{{Name: "Accept", Value: "application/sdp"}}}
	if a := who.Authorization("DESCRIBE", uri); a != "" {
		req.Header.Add("Authorization", a)
	}
	return c.ask(req)
}
