package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// units are what systemd starts: the tests, once the system is up.
var units = map[string]string{
	"vmtest.target": `[Unit]
Requires=basic.target dbus.socket vmtest.service
After=basic.target dbus.socket
AllowIsolate=yes
`,
	"vmtest.service": `[Unit]
After=basic.target dbus.socket
[Service]
ExecStart=` + self + ` run
StandardOutput=tty
StandardError=tty
LimitNOFILE=524288
OOMPolicy=continue
FailureAction=poweroff-force
`,
}

func startSystemd() error {
	const dir = "/run/systemd/system/"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range units {
		if err := os.WriteFile(dir+name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	const systemd = "/lib/systemd/systemd"
	return unix.Exec(systemd, []string{systemd, "--unit=vmtest.target"}, []string{"PATH=/usr/bin:/usr/sbin"})
}
