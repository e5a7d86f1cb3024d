package origintest

import (
	"sync/atomic"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
)

// Paths that are told apart from others.
const (
	clockPath  = "/live/clock"
	storedPath = "/vod/clip"
)

// rtpInfo carries a handler's own RTP-Info past gortsplib, which would overwrite
// it, to OnResponse.
const rtpInfo = "X-Rtp-Info"

// signalling answers RTSP requests.
type signalling struct {
	opt     *Options
	clip    *clip
	seen    *tally
	faults  *faults
	ssrcs   *ssrcs
	streams map[string]*stream // by path; filled in before the first connection

	playing atomic.Int32 // sessions
}

// A session is what is kept with a gortsplib session. Only that one's goroutine
// touches it.
type session struct {
	playing bool
	player  *player // of the stored stream; nil before its first PLAY
}

// gortsplib takes any handler and would not complain about a typo.
var (
	_ gortsplib.ServerHandlerOnRequest          = (*signalling)(nil)
	_ gortsplib.ServerHandlerOnResponse         = (*signalling)(nil)
	_ gortsplib.ServerHandlerOnDescribe         = (*signalling)(nil)
	_ gortsplib.ServerHandlerOnSessionOpen      = (*signalling)(nil)
	_ gortsplib.ServerHandlerOnSetup            = (*signalling)(nil)
	_ gortsplib.ServerHandlerOnPlay             = (*signalling)(nil)
	_ gortsplib.ServerHandlerOnPause            = (*signalling)(nil)
	_ gortsplib.ServerHandlerOnSessionClose     = (*signalling)(nil)
	_ gortsplib.ServerHandlerOnStreamWriteError = (*signalling)(nil)
	_ gortsplib.ServerHandlerOnDecodeError      = (*signalling)(nil)
)

// OnRequest counts.
func (g *signalling) OnRequest(_ *gortsplib.ServerConn, req *base.Request) {
	g.seen.request(string(req.Method))
}

// OnResponse corrects what gortsplib wrote into an answer.
func (g *signalling) OnResponse(_ *gortsplib.ServerConn, res *base.Response) {
	g.ssrcs.announce(res)
	if v, given := res.Header[rtpInfo]; given {
		res.Header["RTP-Info"] = v
		delete(res.Header, rtpInfo)
	}
}

// OnDescribe answers with the description of a stream, if there is one.
func (g *signalling) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	res, s, err := g.find(ctx.Conn, ctx.Request, ctx.Path)
	if s == nil {
		return res, nil, err
	}
	if s.stored != nil {
		res.Body = s.stored
		return res, nil, nil
	}
	return res, s.ServerStream, nil
}

// OnSetup answers with a stream, if there is one; gortsplib does the rest.
func (g *signalling) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	res, s, err := g.find(ctx.Conn, ctx.Request, ctx.Path)
	if s == nil {
		return res, nil, err
	}
	return res, s.ServerStream, nil
}

// find returns a path's stream, or nil and the answer that says why not.
func (g *signalling) find(c *gortsplib.ServerConn, req *base.Request, path string) (*base.Response, *stream, error) {
	if g.opt.User != "" && !c.VerifyCredentials(req, g.opt.User, g.opt.Password) {
		return &base.Response{StatusCode: base.StatusUnauthorized}, nil, liberrors.ErrServerAuth{}
	}
	s := g.streams[path]
	if s == nil {
		return &base.Response{StatusCode: base.StatusNotFound}, nil, nil
	}
	return ok(), s, nil
}

// OnSessionOpen makes the session's own data.
func (g *signalling) OnSessionOpen(ctx *gortsplib.ServerHandlerOnSessionOpenCtx) {
	ctx.Session.SetUserData(&session{})
}

// OnPlay begins or goes on with playing.
func (g *signalling) OnPlay(ctx *gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	own := ctx.Session.UserData().(*session)
	path, res := ctx.Session.SetuppedPath(), ok()
	if s := g.streams[path]; s.stored != nil {
		if own.player == nil {
			own.player = newPlayer(ctx.Session, s, g)
		}
		res = own.player.play(ctx.Request)
	}
	if res.StatusCode != base.StatusOK {
		return res, nil
	}
	g.seen.pull(path)
	if !own.playing {
		own.playing = true
		g.playing.Add(1)
	}
	return res, nil
}

// OnPause stops; stored streams keep their position.
func (g *signalling) OnPause(ctx *gortsplib.ServerHandlerOnPauseCtx) (*base.Response, error) {
	g.stop(ctx.Session)
	return ok(), nil
}

// OnSessionClose ends what the session began.
func (g *signalling) OnSessionClose(ctx *gortsplib.ServerHandlerOnSessionCloseCtx) {
	g.stop(ctx.Session)
}

func (g *signalling) stop(s *gortsplib.ServerSession) {
	own := s.UserData().(*session)
	if own.player != nil {
		own.player.stop()
	}
	if own.playing {
		own.playing = false
		g.playing.Add(-1)
	}
}

// OnStreamWriteError says nothing about each packet that a slow viewer loses;
// without it, gortsplib would.
func (g *signalling) OnStreamWriteError(*gortsplib.ServerHandlerOnStreamWriteErrorCtx) {}

// OnDecodeError says nothing about each RTCP packet that makes no sense, likewise.
func (g *signalling) OnDecodeError(*gortsplib.ServerHandlerOnDecodeErrorCtx) {}
