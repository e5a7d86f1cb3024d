package admin

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page is part of the program
	"encoding/base64"
	"html/template"
	"net/http"
	"time"

	"go.uber.org/zap"

	"weir/proxy"
)

//go:embed page.html
var pageHTML string

//go:embed page.js
var pageScript string

// A page writes the status page. It knows no mode: what a part's Status says is
// shown by its shape. Scalars are a list, arrays of objects are tables, and
// html/template escapes every text, since viewers choose some of them.
type page struct {
	html   *template.Template
	policy string // allows the page its one script, by hash, and what that fetches
}

func newPage() *page {
	sum := sha256.Sum256([]byte(pageScript))
	return &page{
		html: template.Must(template.New("page").Parse(pageHTML)),
		policy: "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-" +
			base64.StdEncoding.EncodeToString(sum[:]) +
			"'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	}
}

// A view is what the template sees.
type view struct {
	Script  template.JS
	Version string
	Uptime  string
	State   string
	Parts   []partView
}

type partView struct {
	check
	OwnPages bool
	Facts    []fact
	Tables   []table
}

func (a *Admin) view() view {
	checks, ready := a.checks()
	v := view{
		Script: template.JS(pageScript), Version: a.conf.Version,
		Uptime: span(float64(int64(time.Since(a.started).Seconds()))), State: "ready",
	}
	switch {
	case a.draining.Load():
		v.State = "draining"
	case !ready:
		v.State = "not ready"
	}
	for i, p := range a.conf.Parts {
		v.Parts = append(v.Parts, a.viewPart(p, checks[i]))
	}
	return v
}

func (a *Admin) viewPart(p Named, c check) partView {
	v := partView{check: c}
	v.Why = cut(v.Why)
	_, v.OwnPages = p.Part.(proxy.Adminer)
	o, err := parseTree(a.partStatus(p))
	if err != nil { // it has just been marshalled: a RawMessage of the part's own, at worst
		o = object{{"error", err.Error()}}
	}
	o = o.flat()
	v.Facts, v.Tables = facts(o), tables(o, maxRows)
	return v
}

func (a *Admin) servePage(w http.ResponseWriter, _ *http.Request) {
	var b bytes.Buffer
	if err := a.page.html.Execute(&b, a.view()); err != nil {
		a.log.Error("status page", zap.Error(err))
		http.Error(w, "The page cannot be shown; /status.json may.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Security-Policy", a.page.policy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(b.Bytes()) //nolint:errcheck // who asked has gone
}
