import { createTheme, type CSSVariablesResolver, type MantineColorsTuple } from '@mantine/core'

const ink: MantineColorsTuple = ['#eff3fb', '#dde5f3', '#b8c8e4', '#91aad6', '#7191ca', '#5c80c2', '#4a6fb5', '#3d5f9f', '#33518a', '#284275']
// The rope is for the cord, and for nothing else.
const rope: MantineColorsTuple = ['#fff3ea', '#ffe4d2', '#ffc7a3', '#ffa871', '#fb8c47', '#f2742a', '#c24c0a', '#bd480a', '#9a3b0d', '#7c310f']
const dark: MantineColorsTuple = ['#e7ebf0', '#bac4cf', '#9ba8b6', '#71808f', '#3a4755', '#2a3541', '#1a232d', '#121921', '#0d1319', '#090d12']

export const theme = createTheme({
  primaryColor: 'ink',
  primaryShade: { light: 7, dark: 6 },
  colors: { ink, rope, dark },
  fontFamily: "'Inter Variable', system-ui, sans-serif",
  fontFamilyMonospace: "ui-monospace, 'SF Mono', 'Cascadia Code', Menlo, Consolas, 'DejaVu Sans Mono', monospace",
  fontSizes: { xs: '12px', sm: '13px', md: '14px', lg: '16px', xl: '20px' },
  lineHeights: { xs: '1.4', sm: '1.45', md: '1.5', lg: '1.5', xl: '1.4' },
  headings: { fontWeight: '620', sizes: { h1: { fontSize: '22px', lineHeight: '1.25' }, h2: { fontSize: '15px', lineHeight: '1.35' }, h3: { fontSize: '14px', lineHeight: '1.4' } } },
  defaultRadius: 'md',
  radius: { xs: '3px', sm: '5px', md: '7px', lg: '10px', xl: '16px' },
  cursorType: 'pointer',
  respectReducedMotion: true,
  components: {
    Modal: { styles: { title: { fontWeight: 620, fontSize: 16 } }, defaultProps: { centered: true, overlayProps: { backgroundOpacity: 0.45 }, closeButtonProps: { 'aria-label': 'Close' } } },
    Drawer: { defaultProps: { closeButtonProps: { 'aria-label': 'Close' } } },
    Tooltip: { defaultProps: { withArrow: true, openDelay: 250, events: { hover: true, focus: true, touch: true } } },
    Badge: { defaultProps: { radius: 'sm' } },
    Combobox: { defaultProps: { hideDetached: false } }, // in a dialog on a phone, what is tapped counts as out of sight for a moment, and its list would stay hidden
  },
})

export const variables: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    '--mantine-color-body': '#f6f7f9',
    '--mantine-color-text': '#17202b',
    '--mantine-color-dimmed': '#566373',
    '--mantine-color-placeholder': '#6b7787',
    '--mantine-color-error': '#b42318',
    '--card': '#ffffff',
    '--line': '#dfe3e9',
    '--line-soft': '#ebeef2',
    '--hover': '#f1f4f8',
    '--code': '#f4f6f8',
    '--rope': '#bd480a',
    '--good': '#17703a',
    '--bad': '#b42318',
    '--wait': '#8a5a00',
    '--link': '#33518a',
  },
  dark: {
    '--mantine-color-dimmed': '#9ba8b6',
    '--mantine-color-placeholder': '#8493a3',
    '--mantine-color-error': '#ff8a7a',
    '--card': '#171f28',
    '--line': '#2a3541',
    '--line-soft': '#222c37',
    '--hover': '#1e2832',
    '--code': '#10171e',
    '--rope': '#fb8c47',
    '--good': '#5fce8a',
    '--bad': '#ff8a7a',
    '--wait': '#f0b94d',
    '--link': '#a3bceb',
  },
})
