package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"weir/proxy"
)

// orderPatience bounds a call of an agent's door.
const orderPatience = 10 * time.Second

// order has the agent that runs take its origin out of rotation or bring it back.
func (c *agentConfig) order(ctx context.Context, in invocation) error {
	if c.drain && c.ready {
		return fmt.Errorf("-drain and -ready: one or the other (%w)", errUsage)
	}
	verb, done := "ready", "the origin is in rotation"
	if c.drain {
		verb, done = "drain", "the origin is out of rotation; who is connected stays"
	}
	door, err := serverURL("-admin", c.admin.Addr)
	if err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx, in.signals)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, orderPatience)
	defer cancel()
	if err := c.call(ctx, door, verb); err != nil {
		return err
	}
	fmt.Fprintln(in.stdout, done)
	return nil
}

func (c *agentConfig) call(ctx context.Context, door *url.URL, verb string) error {
	at := proxy.Redact(door)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, door.JoinPath("agent", verb).String(), nil)
	if err != nil {
		return err
	}
	if c.admin.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.admin.Token)
	}
	// A transport of its own: no connection stays, no proxy from the environment is
	// asked, and no redirect carries the token elsewhere.
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return fmt.Errorf("agent at %s: %w", at, hinted(ctx, err, "is the agent running, and is -admin right?"))
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxDoorAnswer))
	if err != nil {
		return fmt.Errorf("agent at %s: %w", at, err)
	}
	return c.read(at, verb, res.StatusCode, answer)
}

// read says what an answer means.
func (c *agentConfig) read(at, verb string, code int, answer []byte) error {
	said := strings.TrimSpace(string(answer[:min(len(answer), 300)]))
	var state struct{ Draining *bool }
	switch {
	case code == http.StatusUnauthorized && c.admin.Token == "":
		return fmt.Errorf("the agent at %s asks for its token: set WEIR_ADMIN_TOKEN or -admin.token", at)
	case code == http.StatusUnauthorized:
		return fmt.Errorf("the agent at %s has another token than that of WEIR_ADMIN_TOKEN or -admin.token", at)
	case code == http.StatusNotFound:
		return fmt.Errorf("what is at %s is no agent: is -admin right?", at)
	case code != http.StatusOK:
		return fmt.Errorf("agent at %s: status %d: %s", at, code, cmp.Or(said, "it does not say why"))
	case json.Unmarshal(answer, &state) != nil || state.Draining == nil || *state.Draining != (verb == "drain"):
		return fmt.Errorf("agent at %s: it answers %.80q: is this the door of an agent?", at, said)
	}
	return nil
}
