# make help tells what there is.

GO       ?= go
# What the end-to-end tests play with and stand behind, and what the race detector needs.
PROGRAMS := curl ffmpeg ffprobe gst-launch-1.0 gcc haproxy nginx chromium
ELEMENTS := playbin rtspsrc rtph264depay rtph264pay rtpmp4gdepay rtpmp4gpay h264parse avdec_h264 avdec_aac openh264enc avenc_aac qtdemux
FILES    := /usr/lib/nginx/modules/ngx_stream_module.so /usr/lib/*/girepository-1.0/GstRtspServer-1.0.typelib \
            /usr/lib/python3/dist-packages/gi
PACKAGES := curl ffmpeg gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
            gstreamer1.0-plugins-bad gstreamer1.0-libav gir1.2-gst-rtsp-server-1.0 python3-gi \
            haproxy nginx libnginx-mod-stream chromium gcc libc6-dev
PLAYERS  := build/players/hls.min.js build/players/dash.all.min.js
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## the binary, ./weir
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o weir ./cmd/weir

.PHONY: demo
demo: ## the whole product on this machine, until Ctrl-C
	$(GO) run ./cmd/weir demo

.PHONY: test
test: deps lint ## everything that must hold: lint, unit, end-to-end with real players
	$(GO) test -race -run '^$$' ./... >/dev/null # compiles all at once
	$(GO) test -race -p 2 -timeout 9m ./...

.PHONY: lint
lint: ## gofmt, vet, staticcheck, and builds for other systems
	@files=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); test -z "$$files" || { echo "not gofmt'ed:"; echo "$$files"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	GOOS=darwin $(GO) build -o /dev/null ./cmd/weir
	GOOS=windows $(GO) build -o /dev/null ./cmd/weir

.PHONY: deps
deps: $(PLAYERS) ## what the tests need from Debian, where it is missing and may be installed
	@missing=; for p in $(PROGRAMS); do command -v $$p >/dev/null || missing="$$missing $$p"; done; \
	for e in $(ELEMENTS); do gst-inspect-1.0 --exists $$e 2>/dev/null || missing="$$missing $$e"; done; \
	for f in $(FILES); do test -e $$f || missing="$$missing $$f"; done; \
	test -z "$$missing" && exit 0; echo "missing:$$missing"; \
	if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		: RUNLEVEL keeps the proxies from being started; \
		apt-get update -q && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $(PACKAGES); \
	else echo "not root on Debian: install them yourself ($(PACKAGES));"; \
		echo "without gcc nothing can be tested, without the others real players are skipped"; fi

# player fetches one file of an npm package by its hash: package, file, SHA-256.
define player
	@command -v npm >/dev/null || { echo "no npm: no $(notdir $@), browsers are not tested"; exit 0; }; \
	tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && mkdir -p $(@D) && \
	{ npm pack --silent --pack-destination "$$tmp" $(1) >/dev/null || { echo "npm has no $(1): browsers are not tested"; exit 0; }; } && \
	tar -xzOf "$$tmp"/*.tgz package/dist/$(2) >"$$tmp/$(@F)" && \
	echo "$(3)  $$tmp/$(@F)" | sha256sum --check --quiet && mv "$$tmp/$(@F)" $@
endef
build/players/hls.min.js:
	$(call player,hls.js@1.7.4,hls.min.js,cfc70cc9e9fc63d071919e087670abc760c8fd1bc889b88588026e4d22193bbe)
build/players/dash.all.min.js:
	$(call player,dashjs@5.2.1,modern/umd/dash.all.min.js,3a22b1f4576ab294f41e56f156cec7972a5f83edda379416778293ff22d2eb49)

.PHONY: bench
bench: ## the benchmarks; one for each promise of speed
	$(GO) test -run '^$$' -bench . -benchmem ./...

.PHONY: fuzz
fuzz: ## every fuzz target for ten seconds
	@for pkg in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime 10s $$pkg || exit 1; done; done
