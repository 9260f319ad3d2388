package parcs

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// settings are the options a program reads once, at its door; the text of them all is in docs/programs.md.
type settings struct {
	frameLimit   int64
	keepAlive    time.Duration
	silence      time.Duration
	hostSilence  time.Duration
	startTimeout time.Duration
}

const (
	tick             = 500 * time.Millisecond
	connectTimeout   = 10 * time.Second
	handshakeTimeout = 10 * time.Second
)

// passedOn are the settings that points in a cluster get from the program that starts them.
var passedOn = []string{
	"PARCS_FRAME_LIMIT", "PARCS_KEEPALIVE", "PARCS_SILENCE", "PARCS_HOST_SILENCE", "PARCS_START_TIMEOUT",
	"PARCS_QUIET", "PARCS_DEBUG",
}

func readSettings(environment func(string) string) (settings, error) {
	s := settings{frameLimit: 1 << 30}
	if text := environment("PARCS_FRAME_LIMIT"); text != "" {
		size, err := parseSize(text)
		if err != nil || size < 1024 || size >= 1<<56 {
			return s, fmt.Errorf("PARCS_FRAME_LIMIT is %q; it should be at least 1KiB and below 2**56", text)
		}
		s.frameLimit = size
	}
	for _, option := range []struct {
		name     string
		into     *time.Duration
		standard float64
		least    float64
	}{
		{"PARCS_KEEPALIVE", &s.keepAlive, 5, 0},
		{"PARCS_SILENCE", &s.silence, 60, 0.1},
		{"PARCS_HOST_SILENCE", &s.hostSilence, 4, 0.5},
		{"PARCS_START_TIMEOUT", &s.startTimeout, 60, 0.1},
	} {
		value := option.standard
		if text := environment(option.name); text != "" {
			var err error
			if value, err = strconv.ParseFloat(text, 64); err != nil || !(value >= option.least && value < 1e6) {
				return s, fmt.Errorf("%s is %q; it should be a number of seconds, at least %g",
					option.name, text, option.least)
			}
		}
		*option.into = time.Duration(value * float64(time.Second))
	}
	return s, nil
}

var sizePattern = regexp.MustCompile(`^\s*(\d+(?:\.\d+)?)\s*([KMG]i?B|B|)\s*$`)

func parseSize(text string) (int64, error) {
	found := sizePattern.FindStringSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("%q is no size", text)
	}
	number, err := strconv.ParseFloat(found[1], 64)
	unit := map[string]float64{
		"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "KB": 1e3, "MB": 1e6, "GB": 1e9,
	}[found[2]]
	return int64(number * unit), err
}

// parseAddress gives host:port of tcp://host:port.
func parseAddress(text string) (string, error) {
	where, err := url.Parse(text)
	if err != nil || where.Host == "" || where.Port() == "" {
		return "", fmt.Errorf("%q is no address; it should look like tcp://host:port", text)
	}
	if where.Scheme != "tcp" {
		return "", fmt.Errorf("%q: this SDK dials tcp:// only; run the program with parcs run ... --on ADDRESS", text)
	}
	return where.Host, nil
}

// isHere says whether host:port is on this machine.
func isHere(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// ownAddress is the address of this machine from which it reaches host:port; nothing is sent.
func ownAddress(address string) string {
	if address == "" || isHere(address) {
		return "127.0.0.1"
	}
	probe, err := net.Dial("udp", address)
	if err != nil {
		return "127.0.0.1" // whoever dials meets the real error
	}
	defer func() { _ = probe.Close() }()
	host, _, _ := net.SplitHostPort(probe.LocalAddr().String())
	return host
}
