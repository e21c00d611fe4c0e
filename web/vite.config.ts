import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

// In development the real control plane answers what begins with /v1. LANYARD_ADMIN, its admin token, stays in
// this process: nothing of it gets into what is built.
const control = process.env.LANYARD_URL ?? 'http://127.0.0.1:8440'
const admin = process.env.LANYARD_ADMIN

export default defineConfig({
  base: './', // the server says where the console is, with <base href>
  plugins: [react()],
  html: { cspNonce: 'LANYARD_NONCE' }, // the server puts a fresh one there with every page
  build: { target: 'es2022', assetsInlineLimit: 0, emptyOutDir: false, manifest: true, modulePreload: { polyfill: false } },
  server: { proxy: { '/v1': { target: control, headers: admin ? { Authorization: `Bearer ${admin}` } : {} } } },
})
