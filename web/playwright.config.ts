import { defineConfig, devices } from '@playwright/test'

// The browser is Debian's, as in test/e2e; nothing is downloaded.
const launchOptions = { executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] }
const phone = { ...devices['Pixel 7'], defaultBrowserType: undefined, viewport: { width: 360, height: 740 }, deviceScaleFactor: 2 } // the narrowest that people have

export default defineConfig({
  testDir: './test',
  outputDir: './test-results',
  fullyParallel: false,
  workers: 2,
  timeout: 90_000,
  expect: { timeout: 20_000 },
  forbidOnly: !!process.env.CI,
  reporter: [['list']],
  use: { launchOptions, trace: 'off', contextOptions: { reducedMotion: 'reduce' } },
  projects: [
    { name: 'desktop', use: { viewport: { width: 1360, height: 900 }, colorScheme: 'light' } },
    { name: 'phone', testIgnore: /care|signin/, use: { ...phone, colorScheme: 'dark' } },
    { name: 'desktop-dark', testMatch: /look/, use: { viewport: { width: 1360, height: 900 }, colorScheme: 'dark' } },
    { name: 'phone-light', testMatch: /look/, use: { ...phone, colorScheme: 'light' } },
  ],
})
