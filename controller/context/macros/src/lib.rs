//! The attribute `#[pando_context::test]`. Documented where it is re-exported.

use proc_macro2::TokenStream;
use quote::quote;
use syn::punctuated::Punctuated;
use syn::{Error, FnArg, Ident, ItemFn, Token, Type};

/// See `pando_context::test`.
#[proc_macro_attribute]
pub fn test(arguments: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand(arguments.into(), item.into()).unwrap_or_else(Error::into_compile_error).into()
}

fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream, Error> {
    let mut options = quote!(::pando_context::testing::Options::default());
    let words = syn::parse::Parser::parse2(Punctuated::<Ident, Token![,]>::parse_terminated, arguments)?;
    for word in &words {
        if word != "paused" && word != "foreign_tasks" && word != "sockets" {
            return Err(Error::new_spanned(word, "expected `paused`, `foreign_tasks` or `sockets`"));
        }
        options.extend(quote!(.#word()));
    }
    let mut test: ItemFn = syn::parse2(item)?;
    if test.sig.asyncness.is_none() {
        return Err(Error::new_spanned(test.sig.fn_token, "expected an `async fn`"));
    }
    let argument = match test.sig.inputs.iter().collect::<Vec<_>>().as_slice() {
        [] => quote!(),
        [FnArg::Typed(only)] if matches!(*only.ty, Type::Reference(_)) => quote!(root),
        [FnArg::Typed(_)] => quote!(::core::clone::Clone::clone(root.ctx())),
        _ => {
            let message = "expected no argument, `ctx: Ctx` or `root: &Scope`";
            return Err(Error::new_spanned(&test.sig.inputs, message));
        }
    };
    let (name, output) = (test.sig.ident.clone(), test.sig.output.clone());
    let outer = std::mem::take(&mut test.attrs);
    let visibility = std::mem::replace(&mut test.vis, syn::Visibility::Inherited);
    Ok(quote! {
        #(#outer)*
        #[::core::prelude::v1::test]
        #visibility fn #name() #output {
            #test
            ::pando_context::testing::run(
                #options,
                ::core::stringify!(#name),
                |root| ::std::boxed::Box::pin(#name(#argument)),
            )
        }
    })
}
