package admission

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"

	"weir/proxy"
)

const (
	// hookPlaces is how many questions are asked at once; others wait.
	hookPlaces = 64
	// maxQuestion is what a question may have, in bytes.
	maxQuestion = 32 << 10
	// hookRetryAfter is told to viewers about whom the hook could not be asked.
	hookRetryAfter = 5 * time.Second
)

// A question is what a hook is asked, in the fields of MediaMTX.
type question struct {
	IP        string `json:"ip"`
	User      string `json:"user"`
	Password  string `json:"password"`
	Token     string `json:"token"`
	Action    string `json:"action"`
	Path      string `json:"path"` // without a slash at its beginning
	Protocol  string `json:"protocol"`
	ID        string `json:"id"`
	Query     string `json:"query"`
	UserAgent string `json:"userAgent"`

	from netip.Addr // whose question it is; hooks are told all of IP
}

// texts are all fields but ID, which is another one each time.
func (q *question) texts() [9]string {
	return [...]string{q.IP, q.User, q.Password, q.Token, q.Action, q.Path, q.Protocol, q.Query, q.UserAgent}
}

func (q *question) size() int {
	n := len(q.ID)
	for _, s := range q.texts() {
		n += len(s)
	}
	return n
}

// sum tells questions apart. What players and campaigns add to a query makes no
// other question, though the hook is told of it.
func (q *question) sum() [sha256.Size]byte {
	var room [1024]byte
	b := room[:0]
	texts := q.texts()
	texts[7] = withoutTracking(q.Query)
	for _, s := range texts {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return sha256.Sum256(b)
}

// shows reports whether the viewer showed any credentials.
func (q *question) shows() bool { return q.User != "" || q.Password != "" || q.Token != "" }

// grants is what a yes is good for: what was asked, and no other path.
func (q *question) grants() *grant {
	path := "/" + q.Path
	g := &grant{scope: under{path}, token: q.Token}
	if q.Token != "" {
		g.path = path
	}
	return g
}

// A hook is somebody over HTTP who knows who may come in.
type hook struct {
	url     *url.URL // with credentials, never to be logged
	client  *http.Client
	timeout time.Duration
	open    bool
	log     *zap.Logger

	flight singleflight.Group
	places chan struct{} // one in it for each question that is being asked
	known  *hookAnswers
	health hookHealth
}

// newHook asks nothing yet. It is nil if no hook is configured.
func newHook(o *Options, log *zap.Logger) (*hook, error) {
	if o.Hook == "" {
		return nil, nil
	}
	u, err := url.Parse(o.Hook)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("-admission.hook: not a URL of http or https with a host") // err would show credentials
	}
	client := &http.Client{
		Transport: &http.Transport{ // no proxy: passwords are in what is asked
			MaxIdleConnsPerHost:    hookPlaces,
			IdleConnTimeout:        90 * time.Second,
			DisableCompression:     true,
			ForceAttemptHTTP2:      true,
			MaxResponseHeaderBytes: 16 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &hook{
		url: u, client: client, timeout: o.HookTimeout, open: o.HookOpen, log: log,
		places: make(chan struct{}, hookPlaces), known: newHookAnswers(),
		health: hookHealth{log: log, url: proxy.Redact(u)},
	}, nil
}

// run ends when ctx is done and, at most twice the hook's timeout later, no question
// is being asked any more; nobody is to ask after that.
func (h *hook) run(ctx context.Context) {
	if h == nil {
		return
	}
	<-ctx.Done()
	for range hookPlaces {
		h.places <- struct{}{}
	}
	h.client.CloseIdleConnections()
}

// ready says since when the hook fails. That is Degraded, unless the hook is down
// and viewers are refused for it.
func (h *hook) ready() error {
	if h == nil {
		return nil
	}
	now := time.Now()
	if err := h.health.failing(now); err != nil && !h.open {
		return err
	}
	return h.health.failed()
}

// ask is the hook's verdict, the remembered one if that is fresh. Equal questions
// are asked once; the asking ends with the hook's timeout, once there is a place to
// ask, and not with the viewer who happened to be the first. Its errors are *proxy.Refusal.
func (h *hook) ask(ctx context.Context, q question) (*grant, error) {
	if q.size() > maxQuestion {
		return nil, refuse(proxy.BadRequest, "more than the hook may be asked")
	}
	sum := q.sum()
	if a := h.known.get(sum, time.Now()); a != nil {
		return a.result()
	}
	return h.askWithOthers(ctx, sum, q)
}

func (h *hook) askWithOthers(ctx context.Context, sum [sha256.Size]byte, q question) (*grant, error) {
	answers := h.flight.DoChan(string(sum[:]), func() (any, error) { return h.settle(sum, &q), nil })
	select {
	case r := <-answers:
		return r.Val.(*hookAnswer).result()
	case <-ctx.Done():
		return nil, hookRefusal("viewer left while the hook was asked")
	}
}

// settle asks, unless the answer has come since somebody looked. It is for all who
// ask the same, so it ends with none of them.
func (h *hook) settle(sum [sha256.Size]byte, q *question) *hookAnswer {
	if a := h.known.get(sum, time.Now()); a != nil {
		return a
	}
	if !h.enter() {
		return h.without(q, h.health.failing(time.Now()) != nil, "too much to ask the hook at once")
	}
	defer func() { <-h.places }()
	if !h.health.mayAsk(time.Now()) {
		return h.without(q, true, "the hook fails, and is not asked for a while")
	}
	ctx, cancel := context.WithTimeout(context.Background(), h.timeout)
	defer cancel()
	a, err := h.post(ctx, q)
	down := h.health.was(err, q.from, time.Now())
	if err != nil {
		return h.without(q, down || isUnanswered(err), "the hook has no answer")
	}
	h.known.add(sum, a)
	return a
}

// enter takes a place, and waits for it as long as for an answer: that has its
// whole time then, and who takes too long is the hook.
func (h *hook) enter() bool {
	select {
	case h.places <- struct{}{}:
		return true
	default:
	}
	limit := time.NewTimer(h.timeout)
	defer limit.Stop()
	select {
	case h.places <- struct{}{}:
		return true
	case <-limit.C:
		return false
	}
}

// without is the answer when there is none of the hook. Viewers come in for it only
// while the hook is down: an error for one question may be of that viewer's making.
func (h *hook) without(q *question, down bool, why string) *hookAnswer {
	if h.open && down {
		return &hookAnswer{grant: q.grants()}
	}
	return &hookAnswer{no: hookRefusal(why)}
}

func hookRefusal(why string) *proxy.Refusal {
	r := refuse(proxy.NoVerdict, why)
	r.RetryAfter = hookRetryAfter
	return r
}
