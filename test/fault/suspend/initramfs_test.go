package suspend

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// file is one of an initramfs.
type file struct {
	name string
	mode uint32
	body []byte
}

// archive is what a kernel unpacks as its first file system: cpio's format "newc" (Documentation/driver-api/early-userspace/buffer-format.rst).
func archive(files []file) []byte {
	var b bytes.Buffer
	pad := func() { b.Write(make([]byte, -b.Len()&3)) }
	for i, f := range append(files, file{name: "TRAILER!!!"}) {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", i+1, f.mode, 0, 0, 1, 0, len(f.body), 0, 0, 0, 0, len(f.name)+1, 0)
		b.WriteString(f.name + "\x00")
		pad()
		b.Write(f.body)
		pad()
	}
	return b.Bytes()
}

// The kinds of files there are: their modes.
const (
	folder  = 0o040755
	program = 0o100755
	plain   = 0o100644
)

// kernel is one of Debian's, or of somebody who names things as they do.
type kernel struct {
	image   string
	modules []file // of its network, each after those that it needs
}

// errMissing means that this machine has nothing to suspend.
var errMissing = errors.New("this takes qemu-system-x86_64, and in SUSPEND_KERNEL the folder of a Linux kernel with its modules, as dpkg-deb -x unpacks Debian's linux-image-…-cloud-amd64; / for one that is installed")

// findKernel finds the newest, by name, below a folder.
func findKernel(root string) (*kernel, error) {
	images, err := filepath.Glob(filepath.Join(root, "boot/vmlinuz-*"))
	if err != nil {
		return nil, err
	}
	for i := len(images) - 1; i >= 0; i-- {
		if k, err := openKernel(root, images[i]); err != nil || k != nil {
			return k, err
		}
	}
	return nil, fmt.Errorf("below %s is no kernel with its configuration that can be suspended (SUSPEND, ACPI_SLEEP) and has virtio's network: %w", root, errMissing)
}

// openKernel returns nil for one whose configuration is not there, or that cannot be suspended, or has no network here.
func openKernel(root, image string) (*kernel, error) {
	version := strings.TrimPrefix(filepath.Base(image), "vmlinuz-")
	config, err := os.ReadFile(filepath.Join(root, "boot/config-"+version))
	if err != nil {
		return nil, nil
	}
	set := func(option string) bool { return bytes.Contains(config, []byte("\nCONFIG_"+option+"\n")) }
	if !set("SUSPEND=y") || !set("ACPI_SLEEP=y") || !set("SERIAL_8250_CONSOLE=y") || !set("DEVTMPFS=y") || !set("VIRTIO_NET=m") && !set("VIRTIO_NET=y") {
		return nil, nil
	}
	k := &kernel{image: image}
	for i, m := range []string{"drivers/virtio/virtio_ring", "drivers/virtio/virtio", "drivers/virtio/virtio_pci_legacy_dev", "drivers/virtio/virtio_pci_modern_dev",
		"drivers/virtio/virtio_pci", "net/core/failover", "drivers/net/net_failover", "drivers/net/virtio_net"} {
		found, err := filepath.Glob(filepath.Join(root, "lib/modules", version, "kernel", m+".ko*"))
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			continue // it is built in, or loading what needs it will say so
		}
		b, err := unpacked(found[0])
		if err != nil {
			return nil, err
		}
		k.modules = append(k.modules, file{fmt.Sprintf("modules/%02d.ko", i), plain, b})
	}
	return k, nil
}

// unpacked reads a module, which distributions may have compressed.
func unpacked(name string) ([]byte, error) {
	for end, tool := range map[string]string{".xz": "xz", ".zst": "zstd", ".gz": "gzip"} {
		if strings.HasSuffix(name, end) {
			b, err := exec.Command(tool, "-dc", name).Output()
			if err != nil {
				err = fmt.Errorf("unpacking %s: %w", name, err)
			}
			return b, err
		}
	}
	return os.ReadFile(name)
}
