/* Puts certificates into the stores of this machine, as group policy and auto-enrollment do.
 *
 *   store.exe root FILE               an authority, in DER, into Trusted Root Certification Authorities
 *   store.exe my FILE PASSWORD        certificates and their keys, in PKCS #12, into the machine's own
 */
#include <windows.h>
#include <wincrypt.h>
#include <stdio.h>
#include <stdlib.h>
#include <wchar.h>

static BYTE bytes[65536];

static void fail(const char *what)
{
    fprintf(stderr, "%s: error %lx\n", what, GetLastError());
    exit(1);
}

static HCERTSTORE machine(const wchar_t *name)
{
    HCERTSTORE store = CertOpenStore(CERT_STORE_PROV_SYSTEM_W, 0, 0,
                                     CERT_SYSTEM_STORE_LOCAL_MACHINE, name);
    if (!store)
        fail("CertOpenStore");
    return store;
}

int wmain(int count, wchar_t **words)
{
    if (count < 3)
        return 2;
    FILE *file = _wfopen(words[2], L"rb");
    if (!file)
        fail("the file");
    DWORD length = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    if (!wcscmp(words[1], L"root")) {
        HCERTSTORE root = machine(L"Root");
        if (!CertAddEncodedCertificateToStore(root, X509_ASN_ENCODING, bytes, length,
                                              CERT_STORE_ADD_REPLACE_EXISTING, NULL))
            fail("CertAddEncodedCertificateToStore");
        CertCloseStore(root, 0);
    } else if (count == 4) {
        HCERTSTORE my = machine(L"My");
        CRYPT_DATA_BLOB blob = {length, bytes};
        /* Not among the machine's keys: Wine's TLS looks for it among the user's, and takes it out. */
        DWORD flags = CRYPT_USER_KEYSET | CRYPT_EXPORTABLE;
        HCERTSTORE given = PFXImportCertStore(&blob, words[3], flags);
        if (!given)
            fail("PFXImportCertStore");
        PCCERT_CONTEXT one = NULL;
        while ((one = CertEnumCertificatesInStore(given, one)))
            if (!CertAddCertificateContextToStore(my, one, CERT_STORE_ADD_REPLACE_EXISTING, NULL))
                fail("CertAddCertificateContextToStore");
        CertCloseStore(my, 0);
    }
    return 0;
}
