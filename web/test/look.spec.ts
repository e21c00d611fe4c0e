import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { expect, signIn, test } from './world'

// Every page, light and dark, wide and narrow: axe finds nothing serious, nothing is wider than the screen, and there is a
// picture of it in $LANYARD_PICTURES, if that is set.
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
type Found = { violations: { id: string; impact: string; help: string; nodes: { html: string; failureSummary: string }[] }[] }

const pages = [
  '', 'identities', 'identities/invoice-bot', 'identities/invoice-bot?tab=did', 'identities/invoice-bot?tab=chain', 'identities/invoice-bot?tab=credentials', 'identities/invoice-bot?tab=history',
  'identities/invoice-bot?cord=identity:invoice-bot', '?cord=choose', 'new', 'new?way=key', 'new?way=mcp', 'new?way=import', 'approvals', 'APPROVAL', 'policy', 'policy?tab=grants', 'policy?tab=grants&edit=invoice-bot/read-mail',
  'policy?tab=guardrails&edit=no-mail-rules', 'policy?tab=try', 'ledger', 'EVENT', 'upstreams', 'upstreams/mail', 'upstreams/notes?tab=offer', 'owners', 'owners/maya', 'gateways', 'me', 'nowhere',
]

test('every page', async ({ page, world }) => {
  test.setTimeout(300_000)
  const dir = process.env.LANYARD_PICTURES
  const project = test.info().project.name
  const wrong: string[] = []
  const look = async (name: string) => {
    await page.evaluate(axe)
    const found = (await page.evaluate(() => (window as unknown as { axe: { run: (o: unknown) => Promise<unknown> } }).axe.run({ resultTypes: ['violations'] }))) as Found
    for (const v of found.violations.filter((v) => v.impact === 'serious' || v.impact === 'critical'))
      for (const n of v.nodes.slice(0, 3)) wrong.push(`${name}: ${v.id}: ${n.html.slice(0, 160)} ${n.failureSummary.split('\n').slice(1, 2).join(' ').slice(0, 200)}`)
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
    if (over > 0) wrong.push(`${name}: ${over} pixels wider than the screen`)
    if (dir) await page.screenshot({ path: `${dir}/${name.replace(/[^a-z0-9]+/gi, '-').replace(/^-|-$/g, '') || 'home'}-${project}.png` })
  }
  world.ask('Friday it is')
  await page.goto(`${world.control}/console/`)
  await expect(page.getByLabel('Sign-in code')).toBeVisible()
  await look('sign-in')
  await signIn(page, world)
  for (const path of pages) {
    let to = path
    if (path === 'APPROVAL') {
      await page.goto(`${world.control}/console/approvals`)
      to = 'approvals/' + (await page.getByRole('link', { name: /wants to/ }).first().getAttribute('href'))!.split('/').pop()!
    } else if (path === 'EVENT') {
      await page.goto(`${world.control}/console/ledger?type=request`)
      to = 'ledger/' + (await page.locator('.rows a.link[href*="ledger/"]').first().getAttribute('href'))!.split('/').pop()!
    }
    await page.goto(`${world.control}/console/${to}`)
    await expect(page.locator('main#main')).toBeVisible()
    await expect(page.locator('[aria-label=Loading]'), to).toHaveCount(0)
    await page.waitForTimeout(250) // what slides in has come
    await look(path || 'home')
  }
  expect(wrong).toEqual([])
})
