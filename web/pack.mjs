// pack.mjs: every text file of the build is compressed once, here, and served as it is. It prints what the first page
// takes over the wire, and fails above the limit.
import { copyFileSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'

const dist = new URL('dist/', import.meta.url)
const limit = 300 * 1024
// The pages without script have the same type, under a name that stays (web/pages/style.css).
copyFileSync(new URL('node_modules/@fontsource-variable/inter/files/inter-latin-wght-normal.woff2', import.meta.url), new URL('inter.woff2', dist))
const sizes = new Map()
for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || entry.name.endsWith('.gz') || entry.name === '.keep') continue
  const path = `${entry.parentPath}/${entry.name}`
  const raw = readFileSync(path)
  let size = raw.length
  if (/\.(js|css|svg|html)$/.test(entry.name)) {
    const packed = gzipSync(raw, { level: 9 })
    size = packed.length
    if (entry.name !== 'index.html') writeFileSync(`${path}.gz`, packed)
  }
  sizes.set(entry.name, size)
}

// What the page asks for before anything can be seen: all that index.html names, what those import, the chunk of the
// first page that a person sees, and the font.
const manifest = JSON.parse(readFileSync(new URL('.vite/manifest.json', dist)))
const first = new Set(['index.html'])
const add = (key) => {
  const chunk = manifest[key]
  if (!chunk || first.has(chunk.file)) return
  first.add(chunk.file)
  for (const css of chunk.css ?? []) first.add(css)
  for (const asset of chunk.assets ?? []) if (/latin-wght-normal/.test(asset) && !/latin-ext/.test(asset)) first.add(asset)
  for (const other of chunk.imports ?? []) add(other)
}
add('index.html')
for (const page of ['src/pages/Home.tsx']) add(page)
let total = 0
for (const file of first) total += sizes.get(file.split('/').pop()) ?? 0
console.log(`first page: ${(total / 1024).toFixed(1)} KB compressed in ${first.size} files (limit ${limit / 1024} KB)`)
if (total > limit) process.exit(1)
